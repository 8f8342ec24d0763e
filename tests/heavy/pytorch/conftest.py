"""PyTorch for the tests of this folder, from an environment in the cache; everything else is that of `make test`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.models.scorers.servers.server_environment import server_environment

LOCK = Path(__file__).with_name("pytorch.lock.txt")


def _add_pytorch() -> None:
    """Appends the packages, so that whatever both environments have is ours."""
    environment = server_environment("pytorch", LOCK).parent
    (packages,) = environment.glob("lib/python*/site-packages")
    sys.path.append(str(packages))


_add_pytorch()
