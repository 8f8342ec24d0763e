"""The contract, for each of our in-process scorers."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.artifacts.pickles import AllowedPickles
from models.scorers import SCORER_MODULES, runs_in_process
from tests import saved_models
from tests.models.scorers import frozen_graphs, keras_models, logged_models
from tests.models.scorers.contract import Arrays, ScorerCase, ScorerContract
from tests.models.scorers.h2o_mojo import mojos
from tests.models.scorers.heavy_types import HEAVY_TYPES
from tests.models.scorers.learned import FEATURES, boosted_by_lightgbm, boosted_by_xgboost, forest, rows_of
from tests.models.scorers.pfa import exported as exported_pfa
from tests.models.scorers.pmml import exported

_MOJOS = {1: "gbm_multinomial", 2: "gbm_multinomial_2"}
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


def _save_graph(path: Path, number: int) -> Path:
    return frozen_graphs.save_linear(path.with_suffix(".pb"), float(number))


def _graph_expected(number: int, inputs: Arrays) -> Arrays:
    return {"Identity": frozen_graphs.linear(float(number))(**inputs).numpy()}


def _save_lite(path: Path, number: int) -> Path:
    target = path.with_suffix(".tflite")
    target.write_bytes(keras_models.converted(keras_models.classifier(number)))
    return target


def _lite_expected(number: int, inputs: Arrays) -> Arrays:
    return {"output_0": keras_models.classifier(number)(inputs["v"]).numpy()}


def _save_keras(path: Path, number: int) -> Path:
    target = path.with_suffix(".keras")
    keras_models.classifier(number).save(target)
    return target


def _keras_expected(number: int, inputs: Arrays) -> Arrays:
    return {"out": keras_models.classifier(number).predict(inputs["v"], verbose=0)}


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


def _save_sklearn(path: Path, number: int) -> Path:
    import skops.io

    target = path.with_suffix(".skops")
    skops.io.dump(forest(number), target)
    return target


def _save_pickle(path: Path, number: int) -> Path:
    import joblib

    target = path.with_suffix(".joblib")
    joblib.dump(forest(number), target, compress=3)
    return target


def _save_mlflow(path: Path, number: int) -> Path:
    return logged_models.save_sklearn(path, forest(number), rows_of(5).astype(np.float64))


def _save_xgboost(path: Path, number: int) -> Path:
    target = path.with_suffix(".ubj")
    boosted_by_xgboost(number).save_model(target)
    return target


def _save_lightgbm(path: Path, number: int) -> Path:
    target = path.with_suffix(".txt")
    boosted_by_lightgbm(number).booster_.save_model(str(target))
    return target


def _save_mojo(path: Path, number: int) -> Path:
    return mojos.save_mojo(_MOJOS[number], path.with_suffix(".zip"))


def _mojo_expected(number: int, inputs: Arrays) -> Arrays:
    found = mojos.easy_predict(mojos.mojo(_MOJOS[number]), inputs)
    return {
        "prediction": mojos.texts([str(one.label) for one in found]),
        "probabilities": np.array([list(one.classProbabilities) for one in found]),
    }


def _pmml_names() -> list[str]:
    return exported.names(FEATURES)


def _save_pmml(path: Path, number: int) -> Path:
    classes = ["a", "b", "c"]
    target = path.with_suffix(".pmml")
    target.write_bytes(
        exported.document(_pmml_names(), classes, exported.forest(forest(number), _pmml_names(), classes))
    )
    return target


def _pmml_expected(number: int, inputs: Arrays) -> Arrays:
    matrix = np.stack([inputs[name] for name in _pmml_names()], axis=1)
    shares = forest(number).predict_proba(matrix)
    labels = np.array([b"a", b"b", b"c"], object)[forest(number).predict(matrix)]
    return {"y": labels, **{f"probability_{label}": shares[:, place] for place, label in enumerate("abc")}}


def _pmml_inputs(rows: int) -> Arrays:
    return {name: rows_of(rows)[:, place].astype(np.float64) for place, name in enumerate(_pmml_names())}


def _save_pfa(path: Path, number: int) -> Path:
    target = path.with_suffix(".pfa")
    target.write_text(json.dumps(exported_pfa.forest(forest(number), FEATURES)))
    return target


def _pfa_expected(number: int, inputs: Arrays) -> Arrays:
    matrix = np.stack([inputs[name] for name in _pmml_names()], axis=1)
    labels = np.array([b"a", b"b", b"c"], object)[forest(number).predict(matrix)]
    return {"label": labels, "probabilities": forest(number).predict_proba(matrix)}


def _classified_by(train: Callable[[int], Any]) -> Callable[[int, Arrays], Arrays]:
    def expected(number: int, inputs: Arrays) -> Arrays:
        model = train(number)
        return {
            "prediction": np.asarray(model.predict(inputs["X"]), np.int64),
            "probabilities": model.predict_proba(inputs["X"]),
        }

    return expected


def _matrix(rows: int) -> Arrays:
    return {"X": rows_of(rows)}


def _wide_matrix(rows: int) -> Arrays:
    return {"X": rows_of(rows).astype(np.float64)}


CASES = (
    ScorerCase(
        "lightgbm", _save_lightgbm, _wide_matrix, _classified_by(boosted_by_lightgbm), {"X": TOO_NARROW}, tolerance=0
    ),
    ScorerCase(
        "h2o-mojo",
        _save_mojo,
        mojos.rows_of,
        _mojo_expected,
        {**mojos.rows_of(2), "grape": mojos.texts(["unheard of", "merlot"])},
        tolerance=0,
    ),
    ScorerCase(
        "tensorflow-saved-model",
        _save_saved_model,
        lambda rows: {"v": rows_of(rows)},
        _saved_model_expected,
        {"v": TOO_NARROW},
        tolerance=1e-5,
    ),
    ScorerCase(
        "tensorflow-graph",
        _save_graph,
        lambda rows: {"v": rows_of(rows)},
        _graph_expected,
        {"v": TOO_NARROW},
        tolerance=1e-5,
    ),
    ScorerCase(
        "tensorflow-lite",
        _save_lite,
        lambda rows: {"v": rows_of(rows)},
        _lite_expected,
        {"v": TOO_NARROW},
        tolerance=1e-5,
    ),
    ScorerCase(
        "keras",
        _save_keras,
        lambda rows: {"v": rows_of(rows)},
        _keras_expected,
        {"v": TOO_NARROW},
        tolerance=1e-5,
    ),
    ScorerCase("onnx", _save_onnx, _matrix, _onnx_expected, {"X": TOO_NARROW}, tolerance=1e-6),
    ScorerCase(
        "pfa",
        _save_pfa,
        _pmml_inputs,
        _pfa_expected,
        {name: np.array([b"a", b"b"], object) for name in _pmml_names()},
        tolerance=1e-14,
    ),
    ScorerCase(
        "pmml",
        _save_pmml,
        _pmml_inputs,
        _pmml_expected,
        {name: np.full(2, np.inf) for name in _pmml_names()},
        tolerance=1e-14,
    ),
    ScorerCase("mlflow", _save_mlflow, _wide_matrix, _classified_by(forest), {"X": TOO_NARROW}, tolerance=0),
    ScorerCase("sklearn", _save_sklearn, _wide_matrix, _classified_by(forest), {"X": TOO_NARROW}, tolerance=0),
    ScorerCase(
        "sklearn",
        _save_pickle,
        _wide_matrix,
        _classified_by(forest),
        {"X": TOO_NARROW},
        tolerance=0,
        pickles=AllowedPickles(names=frozenset({"m"})),
    ),
    ScorerCase("xgboost", _save_xgboost, _matrix, _classified_by(boosted_by_xgboost), {"X": TOO_NARROW}, tolerance=0),
)


class TestScorers(ScorerContract):
    @pytest.fixture(params=CASES, ids=lambda case: case.model_type)
    def case(self, request: pytest.FixtureRequest) -> ScorerCase:
        found: ScorerCase = request.param
        return found


def test_no_scorer_that_runs_in_the_process_is_left_out() -> None:
    tested_elsewhere = {"python"}  # with the package that it needs
    tested = {case.model_type for case in CASES} | tested_elsewhere
    assert tested == {name for name in SCORER_MODULES.keys() - HEAVY_TYPES if runs_in_process(name)}
