"""The contract, for each of our scorers that runs in the process."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.scorers import SCORER_MODULES, runs_in_process
from tests import saved_models
from tests.models.scorers.contract import Arrays, ScorerCase, ScorerContract
from tests.models.scorers.learned import FEATURES, forest, rows_of

TOO_NARROW = np.zeros((2, FEATURES - 1), np.float32)


def _save_saved_model(path: Path, number: int) -> Path:
    return saved_models.save_linear_model(path, [float(number)] * FEATURES)


@cache
def _tensorflow_function(number: int) -> Any:
    import tempfile

    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        return tf.saved_model.load(str(_save_saved_model(Path(folder) / "model", number))).signatures["serving_default"]


def _saved_model_expected(number: int, inputs: Arrays) -> Arrays:
    return {name: tensor.numpy() for name, tensor in _tensorflow_function(number)(**inputs).items()}


def _save_onnx(path: Path, number: int) -> Path:
    from skl2onnx import to_onnx

    model = to_onnx(forest(number), rows_of(1), options={"zipmap": False})
    target = path.with_suffix(".onnx")
    target.write_bytes(model.SerializeToString())
    return target


def _onnx_expected(number: int, inputs: Arrays) -> Arrays:
    model = forest(number)
    return {
        "label": model.predict(inputs["X"]),
        "probabilities": model.predict_proba(inputs["X"]).astype(np.float32),
    }


CASES = (
    ScorerCase(
        "tensorflow-saved-model",
        _save_saved_model,
        lambda rows: {"v": rows_of(rows)},
        _saved_model_expected,
        {"v": TOO_NARROW},
        tolerance=1e-5,
    ),
    ScorerCase(
        "onnx", _save_onnx, lambda rows: {"X": rows_of(rows)}, _onnx_expected, {"X": TOO_NARROW}, tolerance=1e-6
    ),
)


class TestScorers(ScorerContract):
    @pytest.fixture(params=CASES, ids=lambda case: case.model_type)
    def case(self, request: pytest.FixtureRequest) -> ScorerCase:
        found: ScorerCase = request.param
        return found


def test_no_scorer_that_runs_in_the_process_is_left_out() -> None:
    assert {case.model_type for case in CASES} == {name for name in SCORER_MODULES if runs_in_process(name)}
