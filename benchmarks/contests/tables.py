"""Forests and boosting of 100 trees of depth 8, for 20 features and three classes, in each format that has trees."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contests.contest import FEATURES, NAMES, Contest, float_matrix_of, matrix_of
from models.tensors import Array

_TREES, _DEPTH, _CLASSES, _TRAINED = 100, 8, 3, 3_000
_MATRIX = {"X": NAMES}
_FOREST, _BOOSTING = f"forest of {_TREES} trees", f"boosting of {_TREES} rounds"


@cache
def _training() -> tuple[Array, Array]:
    """Training rows, which differ from the scored rows."""
    random = np.random.default_rng(1)
    features = random.normal(size=(_TRAINED, FEATURES)).astype(np.float32)
    scores = features @ random.normal(size=(FEATURES, _CLASSES)) + random.normal(size=(_TRAINED, _CLASSES))
    return features, scores.argmax(axis=1)


@cache
def _forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(_TREES, max_depth=_DEPTH, random_state=1, n_jobs=1).fit(*_training())


def _probabilities_and_labels(rows: Array) -> Array:
    """Both for the price of one: the labels that scikit-learn predicts are those of the largest probabilities."""
    probabilities: Array = _forest().predict_proba(rows)
    _forest().classes_[probabilities.argmax(axis=1)]
    return probabilities


def sklearn(folder: Path) -> Contest:
    """The rival is the estimator."""
    import skops.io

    path = folder / "forest.skops"
    skops.io.dump(_forest(), path)
    return Contest(str(path), _probabilities_and_labels, "probabilities", _MATRIX)


def mlflow(folder: Path) -> Contest:
    """The rival is the logged estimator."""
    from tests.models.scorers.logged_models import save_sklearn

    path = save_sklearn(folder / "logged", _forest(), matrix_of(5))
    return Contest(str(path), _probabilities_and_labels, "probabilities", _MATRIX)


def onnx(folder: Path) -> Contest:
    """The rival is a session of onnxruntime on one thread, like ours."""
    import onnxruntime
    from skl2onnx import to_onnx

    path = folder / "forest.onnx"
    path.write_bytes(to_onnx(_forest(), float_matrix_of(1), options={"zipmap": False}).SerializeToString())
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    return Contest(
        str(path), lambda rows: session.run(None, {"X": rows})[1], "probabilities", _MATRIX, ready=float_matrix_of
    )


def xgboost(folder: Path) -> Contest:
    """The rival is a booster on one thread, like ours."""
    from xgboost import XGBClassifier

    path = folder / "boosting.ubj"
    model = XGBClassifier(n_estimators=_TREES, max_depth=_DEPTH, n_jobs=1).fit(*_training())
    model.save_model(path)
    return Contest(str(path), model.get_booster().inplace_predict, "probabilities", _MATRIX, ready=float_matrix_of)


def lightgbm(folder: Path) -> Contest:
    """The rival is a booster on one thread, like ours."""
    from lightgbm import LGBMClassifier

    path = folder / "boosting.txt"
    booster = LGBMClassifier(n_estimators=_TREES, max_depth=_DEPTH, n_jobs=1, verbosity=-1).fit(*_training()).booster_
    booster.save_model(str(path))
    return Contest(str(path), lambda rows: booster.predict(rows, num_threads=1), "probabilities", _MATRIX)


def pmml(folder: Path) -> Contest:
    """The rival is the exported estimator of scikit-learn."""
    from tests.models.scorers.pmml import exported

    path, classes = folder / "forest.pmml", ["a", "b", "c"]
    path.write_bytes(exported.document(NAMES, classes, exported.forest(_forest(), NAMES, classes)))
    return Contest(
        str(path), _probabilities_and_labels, "probability_a", answer=lambda shares: np.asarray(shares)[:, 0]
    )


def pfa(folder: Path) -> Contest:
    """The rival is the exported estimator of scikit-learn."""
    from tests.models.scorers.pfa import exported

    path = folder / "forest.pfa"
    path.write_text(json.dumps(exported.forest(_forest(), FEATURES)))
    return Contest(str(path), _probabilities_and_labels, "probabilities")


def model_handler(folder: Path) -> Contest:
    """Beam's handler for scikit-learn, which predicts labels only; the rival is the estimator."""
    import pickle

    path = folder / "forest.pkl"
    path.write_bytes(pickle.dumps(_forest()))
    return Contest(str(path), _forest().predict, "prediction", _MATRIX, {"handler": "benchmark-forest"}, tolerance=0.0)


TABLES = {
    "onnx": (_FOREST, "onnxruntime", onnx),
    "sklearn": (_FOREST, "scikit-learn", sklearn),
    "xgboost": (_BOOSTING, "XGBoost", xgboost),
    "lightgbm": (_BOOSTING, "LightGBM", lightgbm),
    "pmml": (_FOREST, "scikit-learn", pmml),
    "pfa": (_FOREST, "scikit-learn", pfa),
    "mlflow": (_FOREST, "scikit-learn", mlflow),
    "beam-model-handler": (_FOREST, "scikit-learn", model_handler),
}
