"""All kinds of models against genmodel's own EasyPredict, row by row, with exact equality."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import jpype
import numpy as np
import pytest

from models.artifacts.local_opener import LocalOpener
from models.errors import ScoringError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers import load_scorer
from models.scorers.base import ModelSource, Scorer
from models.tensors import Array
from tests.models.scorers.h2o_mojo.mojos import NUMBERS, easy_predict, mojo, rows_of

ROWS = 1_000


def inline(content: bytes, **options: str) -> Scorer:
    named = {name.replace("_", "-"): value for name, value in options.items()}
    return load_scorer(ModelSource(ModelDescriptor("m", "h2o-mojo", 3, options=named), content, LocalOpener()))


def _class_outputs(one: Any) -> dict[str, Any]:
    found = {"prediction": str(one.label).encode(), "probabilities": list(one.classProbabilities)}
    calibrated = getattr(one, "calibratedClassProbabilities", None)
    return found if calibrated is None else {**found, "calibrated_probabilities": list(calibrated)}


def _anomaly_outputs(one: Any) -> dict[str, Any]:
    found = {"prediction": float(one.normalizedScore), "score": float(one.score)}
    return found if one.isAnomaly is None else {**found, "is_anomaly": bool(one.isAnomaly)}


OUTPUTS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "binomial": _class_outputs,
    "multinomial": _class_outputs,
    "ordinal": _class_outputs,
    "regression": lambda one: {"prediction": float(one.value)},
    "clustering": lambda one: {"prediction": int(one.cluster)},
    "anomaly": _anomaly_outputs,
}
MODELS = {
    "gbm_binomial": "binomial",
    "gbm_multinomial": "multinomial",
    "gbm_regression": "regression",
    "gbm_calibrated": "binomial",
    "drf_binomial": "binomial",
    "drf_multinomial": "multinomial",
    "glm_binomial": "binomial",
    "glm_multinomial": "multinomial",
    "glm_ordinal": "ordinal",
    "glm_regression": "regression",
    "deep_learning": "multinomial",
    "k_means": "clustering",
    "isolation_forest": "anomaly",
    "isolation_forest_flag": "anomaly",
    "extended_isolation_forest": "anomaly",
    "stacked_ensemble": "binomial",
    "xgboost": "binomial",
}


def assert_same(found: Mapping[str, Array], predictions: list[Any], category: str) -> None:
    expected = [OUTPUTS[category](one) for one in predictions]
    assert found.keys() == expected[0].keys()
    for name, values in found.items():
        assert values.tolist() == [one[name] for one in expected], name


@pytest.mark.parametrize("name", MODELS)
def test_every_row_is_what_easy_predict_gives_with_missing_values_and_unknown_levels(name: str) -> None:
    content, inputs = mojo(name), rows_of(ROWS, unknown=0.1)
    found = inline(content, unknown_levels="missing").score(inputs).outputs
    assert_same(found, easy_predict(content, inputs, unknown_is_missing=True), MODELS[name])
    assert max(len({str(value) for value in values.tolist()}) for values in found.values()) > 1


@pytest.mark.parametrize("name", ["gbm_binomial", "glm_regression", "k_means"])
def test_an_unknown_level_is_an_error_for_the_same_rows_as_in_easy_predict(name: str) -> None:
    content, inputs = mojo(name), rows_of(100, unknown=0.1)
    scorer = inline(content)
    failed = set()
    expected = easy_predict(content, inputs)
    for row, wanted in enumerate(expected):
        one = {column: values[row : row + 1] for column, values in inputs.items()}
        if isinstance(wanted, jpype.JException):
            failed.add(row)
            with pytest.raises(
                ScoringError, match=r"input '(grape|region)' holds 'unheard of'.*unknown-levels=missing"
            ):
                scorer.score(one)
        else:
            assert_same(scorer.score(one).outputs, [wanted], MODELS[name])
    assert 0 < len(failed) < len(expected)


@pytest.mark.parametrize("name", ["gbm_regression", "deep_learning"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e308, -0.0])
def test_extreme_numbers_are_what_easy_predict_makes_of_them(name: str, value: float) -> None:
    content, inputs = mojo(name), rows_of(20)
    extreme = {column: np.full(20, value) if column in NUMBERS else values for column, values in inputs.items()}
    expected = easy_predict(content, extreme)
    if isinstance(expected[0], jpype.JException):
        with pytest.raises(ScoringError, match=re.escape(str(expected[0].getMessage()))):
            inline(content).score(extreme)
        return
    found = inline(content).score(extreme).outputs
    for column in found:
        wanted = np.array([OUTPUTS[MODELS[name]](one)[column] for one in expected], found[column].dtype)
        np.testing.assert_array_equal(found[column], wanted)
