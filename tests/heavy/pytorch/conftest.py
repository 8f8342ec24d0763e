"""PyTorch for the tests of this folder, from an environment in the cache; all else is as in `make test`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import models.scorers.pytorch  # noqa: F401  # before the tests export programs: it keeps PyTorch from importing Triton
from tests.end_to_end.conftest import deploy
from tests.models.scorers.servers.server_environment import server_environment

__all__ = ["deploy"]

LOCK = Path(__file__).with_name("pytorch.lock.txt")
ROOT = Path(__file__).resolve().parents[3]


def pytorch_packages() -> Path:
    """The folder of the packages; it comes last on the path, so that packages in both environments are ours."""
    environment = server_environment("pytorch", LOCK).parent
    (packages,) = environment.glob("lib/python*/site-packages")
    return packages


sys.path.append(str(pytorch_packages()))


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds PyTorch's packages after those of this environment, for processes that start from now on."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.path.append({str(pytorch_packages())!r})\n")
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{ROOT}")
