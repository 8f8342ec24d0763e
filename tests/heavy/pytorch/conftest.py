"""PyTorch for the tests of this folder, from an environment in the cache; all else is as in `make test`."""

from __future__ import annotations

import sys
from pathlib import Path

import models.scorers.pytorch  # noqa: F401  # before the tests export programs: it keeps PyTorch from importing Triton
from tests.end_to_end.conftest import deploy
from tests.models.scorers.servers.server_environment import server_environment

__all__ = ["deploy"]

LOCK = Path(__file__).with_name("pytorch.lock.txt")


def pytorch_packages() -> Path:
    """The folder of the packages; it comes last on the path, so that packages in both environments are ours."""
    environment = server_environment("pytorch", LOCK).parent
    (packages,) = environment.glob("lib/python*/site-packages")
    return packages


sys.path.append(str(pytorch_packages()))
