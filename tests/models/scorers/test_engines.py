"""Engines that are imported before the first record; each in its own process, because an import lasts."""

from __future__ import annotations

import logging
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from models.errors import ModelLoadError
from models.scorers import SCORER_MODULES, prepare_engines
from models.scorers.tensorflow import saved_model
from tests.models.scorers.heavy_types import HEAVY_TYPES

PROGRAM = """
import sys
from models.scorers import prepare_engines
prepare_engines(sys.argv[1:])
print("loaded" if "tensorflow" in sys.modules else "absent")
"""


@pytest.mark.parametrize(("model_type", "expected"), [("tensorflow-saved-model", "loaded"), (None, "absent")])
def test_an_engine_is_imported_when_it_is_named(model_type: str | None, expected: str) -> None:
    words = [model_type] if model_type else []
    command = [sys.executable, "-c", PROGRAM, *words]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True)
    assert done.stdout == f"{expected}\n"


@pytest.mark.parametrize("model_type", sorted(SCORER_MODULES.keys() - HEAVY_TYPES))
def test_every_scorer_can_prepare_its_engine(model_type: str) -> None:
    assert callable(import_module(SCORER_MODULES[model_type]).prepare)


def test_an_engine_that_cannot_be_imported_is_logged_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> None:
        raise ModelLoadError("the package tensorflow cannot be imported")

    monkeypatch.setattr(saved_model, "prepare", missing)
    with caplog.at_level(logging.WARNING):
        prepare_engines(["tensorflow-saved-model"])
    assert "the package tensorflow cannot be imported" in caplog.text
