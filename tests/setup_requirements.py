"""The requirements in setup.py, read by running it with a `setup` that only records its arguments."""

from __future__ import annotations

import runpy
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent

# Neither locked nor installed for `make test`: PyTorch requires 3 GB of CUDA on Linux, and its build for CPUs is not in
# the default index. `make test-heavy` installs what tests/heavy needs.
HEAVY_EXTRAS = {"pytorch"}


@cache
def setup_arguments() -> dict[str, Any]:
    """The arguments of `setup`."""
    with patch("setuptools.setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"))
    return dict(setup.call_args.kwargs)


def plain() -> list[Requirement]:
    """The requirements of every installation."""
    return [Requirement(text) for text in setup_arguments()["install_requires"]]


def extra(name: str) -> list[Requirement]:
    """The requirements that one extra adds."""
    return [Requirement(text) for text in setup_arguments()["extras_require"][name]]


def extras() -> list[str]:
    """The names of all extras."""
    return sorted(setup_arguments()["extras_require"])
