"""The examples in the application's docstrings, run unchanged.

They are not run by pytest's --doctest-modules, which would import every module, and with some of them Beam and
TensorFlow.
"""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("beam_pipeline", "models", "runners", "transforms")
PROMPT = ">>> "


def modules_with_examples() -> list[str]:
    files = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    found = [path for path in files if PROMPT in path.read_text(encoding="utf-8")]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in found]


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_hold(name: str) -> None:
    results = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.attempted > 0, "its examples are not in docstrings"
    assert results.failed == 0


def test_there_are_examples() -> None:
    assert len(modules_with_examples()) > 10
