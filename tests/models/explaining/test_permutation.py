"""Attributions by permutation, against what is known of the models."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ExplanationError, GradientsError, MissingExtraError
from models.explaining.attribution import Attributions
from models.explaining.permutation import explainer_class
from models.loading.loader import LoadedModel
from models.records.record_type import RecordType
from tests.models.explaining.function_models import explainer, function_model, scorer_of, spec
from tests.models.fakes import columns_of, schema_of

NUMBERS = st.floats(-100, 100, width=32)
ABC = schema_of(a="double", b="double", c="double")
Row = dict[str, Any]


def explained(
    model: LoadedModel, row: Row, others: list[Row] | None = None, kind: RecordType = ABC, **chosen: Any
) -> Attributions:
    background = columns_of(kind, others) if others else None
    return explainer(**chosen).explain(model, kind.codec, columns_of(kind, [row]), background)


def shares(found: Attributions) -> dict[str, float]:
    return {one.name: one.attribution for one in found.inputs}


def row_of(values: Any) -> Row:
    return dict(zip("abc", map(float, values), strict=True))


def of_abc(function: Callable[[Any, Any, Any], Any], **described: Any) -> LoadedModel:
    """A model of the three fields, one input each."""
    inputs = {**spec("a"), **spec("b"), **spec("c")}
    return function_model(lambda a, b, c: {"out": function(a, b, c)}, inputs, **described)


def shapley(function: Callable[[Any, Any, Any], Any], row: Row, others: list[Row]) -> dict[str, float]:
    """The Shapley values by their definition: over all subsets of the features."""

    def value(present: tuple[str, ...]) -> float:
        mixed = [{**other, **{name: row[name] for name in present}} for other in others]
        return float(np.mean([function(*(np.array([one[name]]) for name in "abc"))[0] for one in mixed]))

    found = {}
    for name in "abc":
        rest = [one for one in "abc" if one != name]
        subsets = [subset for size in range(3) for subset in itertools.combinations(rest, size)]
        weights = [math.factorial(len(one)) * math.factorial(2 - len(one)) / 6 for one in subsets]
        gains = [value((*subset, name)) - value(subset) for subset in subsets]
        found[name] = sum(weight * gain for weight, gain in zip(weights, gains, strict=True))
    return found


@settings(max_examples=50)
@given(st.lists(NUMBERS, min_size=3, max_size=3), st.lists(st.tuples(*[NUMBERS] * 3), min_size=2, max_size=4))
def test_the_contributions_in_a_linear_model_are_the_weighted_distances(
    weights: list[float], rows: list[tuple[float, ...]]
) -> None:
    model = of_abc(lambda a, b, c: np.stack([a, b, c], 1) @ np.array(weights))
    row, *others = map(row_of, rows)
    found = explained(model, row, others)
    means = {name: np.mean([one[name] for one in others]) for name in "abc"}
    expected = {name: weight * (row[name] - means[name]) for name, weight in zip("abc", weights, strict=True)}
    assert shares(found) == pytest.approx(expected, abs=1e-6)
    assert found.base == pytest.approx(
        sum(means[name] * one for name, one in zip("abc", weights, strict=True)), abs=1e-6
    )
    assert found.complete and found.background == len(others)


FUNCTIONS = {
    "products": lambda a, b, c: a * b + b * c - a * c,
    "steps": lambda a, b, c: (a > b) * 3.0 + (c > 0) * (b > 1) * 2.0,
    "curves": lambda a, b, c: np.tanh(a + b) + np.abs(c - a),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@settings(max_examples=25)
@given(st.tuples(*[NUMBERS] * 3), st.lists(st.tuples(*[NUMBERS] * 3), min_size=1, max_size=3))
def test_the_contributions_are_shapley_values_where_features_interact_in_pairs(
    function: Callable[[Any, Any, Any], Any], values: tuple[float, ...], others: list[tuple[float, ...]]
) -> None:
    row, background = row_of(values), list(map(row_of, others))
    found = explained(of_abc(function), row, background)
    assert shares(found) == pytest.approx(shapley(function, row, background), abs=1e-6)


def test_zeros_stand_in_where_there_are_no_other_records() -> None:
    found = explained(of_abc(lambda a, b, c: a * b + c), row_of([3, 4, 5]))
    assert (found.base, found.prediction, found.background) == (0.0, 17.0, 0)
    assert shares(found) == pytest.approx({"a": 6.0, "b": 6.0, "c": 5.0})


def test_texts_are_features_like_any_other() -> None:
    kind = schema_of(word="string", size="double")
    inputs = {**spec("word", object), **spec("size")}
    model = function_model(lambda word, size: {"out": 2.0 * np.array(list(map(len, word))) + size}, inputs)
    row, others = {"word": "wine", "size": 5.0}, [{"word": "", "size": 1.0}, {"word": "ab", "size": 2.0}]
    found = explained(model, row, others, kind)
    assert shares(found) == pytest.approx({"word": 6.0, "size": 3.5})
    assert [one.value for one in found.inputs] == [b"wine", 5.0]


def test_each_field_of_a_matrix_has_its_own_contribution() -> None:
    weights = np.array([1.0, -2.0, 3.0])
    model = function_model(lambda v: {"out": v @ weights}, spec("v", np.float64, 3), inputs={"v": ("c", "a", "b")})
    found = explained(model, row_of([1, 2, 3]))
    assert shares(found) == pytest.approx({"c": 3.0, "a": -2.0, "b": 6.0})
    assert [(one.input, one.element) for one in found.inputs] == [("v", (0,)), ("v", (1,)), ("v", (2,))]


ITEMS = schema_of(user="double", items={"type": "array", "items": "double"})


def test_of_the_items_of_an_array_the_one_with_the_highest_answer_is_explained() -> None:
    inputs = {**spec("user"), **spec("items")}
    model = function_model(lambda user, items: {"out": user * items}, inputs)
    found = explained(model, {"user": 2.0, "items": [1.0, 5.0, 3.0]}, kind=ITEMS)
    assert (found.explained.item, found.prediction) == (1, 10.0)
    assert shares(found) == pytest.approx({"user": 5.0, "items[1]": 5.0})


def test_a_record_without_items_has_no_explanation() -> None:
    model = function_model(lambda user, items: {"out": user * items}, {**spec("user"), **spec("items")})
    with pytest.raises(ExplanationError, match="no items"):
        explained(model, {"user": 2.0, "items": []}, kind=ITEMS)


def test_a_long_array_is_one_feature_and_background_records_of_another_length_do_not_count() -> None:
    kind = schema_of(a="double", picture={"type": "array", "items": "double"})
    inputs = {**spec("a"), **spec("picture", np.float64, None)}
    model = function_model(lambda a, picture: {"out": a + picture.sum(axis=1)}, inputs)
    row = {"a": 1.0, "picture": [1.0] * 200}
    others = [{"a": 0.0, "picture": [0.5] * 200}, {"a": 9.0, "picture": [0.5] * 199}]
    found = explained(model, row, others, kind)
    assert shares(found) == pytest.approx({"a": 1.0, "picture": 100.0})
    assert [one.element for one in found.inputs] == [(), None]
    assert found.background == 1


def test_no_call_has_more_rows_than_the_model_takes() -> None:
    model = of_abc(lambda a, b, c: a + b + c, options={"max-batch": "7"})
    found = explained(model, row_of([1, 2, 3]), [row_of([0, 0, 0]), row_of([1, 1, 0])])
    sizes = scorer_of(model).sizes
    assert max(sizes) == 7
    assert (found.calls, found.rows) == (len(sizes), sum(sizes))


def test_what_is_equal_in_all_records_costs_no_calls_and_contributes_nothing() -> None:
    model = of_abc(lambda a, b, c: a * b * c)
    others = [row_of([1, 2, 3]), row_of([1, 2, 4])]
    found = explained(model, row_of([1, 2, 9]), others)
    assert shares(found) == pytest.approx({"a": 0.0, "b": 0.0, "c": 2 * (9 - 3.5)})
    same = explained(model, row_of([1, 2, 3]), [row_of([1, 2, 3])])
    assert shares(same) == {"a": 0.0, "b": 0.0, "c": 0.0}
    assert same.rows < found.rows


# --- The output and its component.

OUTPUTS: Mapping[str, Any] = {
    "label": np.array([7]),
    "scores": np.array([[0.1, 0.7, 0.2]], np.float32),
    "word": np.array([b"x"], object),
    "bad": np.array([[1.0, math.nan]]),
}


def with_outputs() -> LoadedModel:
    return function_model(
        lambda a: {name: np.repeat(values, len(a), axis=0) for name, values in OUTPUTS.items()}, spec("a")
    )


def test_the_highest_value_of_the_first_float_output_is_explained() -> None:
    found = explained(with_outputs(), row_of([1, 2, 3])).explained
    assert (found.output, found.component, str(found)) == ("scores", (1,), "scores[1]")


def test_another_output_can_be_named() -> None:
    assert explained(with_outputs(), row_of([1, 2, 3]), output="label").prediction == 7.0


def test_outputs_have_the_names_that_the_descriptor_gives_them() -> None:
    model = of_abc(lambda a, b, c: a, outputs={"amount": "out"})
    assert explained(model, row_of([1, 2, 3])).explained.output == "amount"


@pytest.mark.parametrize(
    ("output", "reason"),
    [("word", "holds no numbers"), ("nothing", "no output 'nothing'.*bad, label, scores, word"), ("bad", "nan")],
)
def test_an_output_that_cannot_be_explained_is_refused_with_the_reason(output: str, reason: str) -> None:
    with pytest.raises(ExplanationError, match=reason):
        explained(with_outputs(), row_of([1, 2, 3]), output=output)


def test_without_an_output_of_floats_one_must_be_named() -> None:
    model = function_model(lambda a: {"label": np.ones(len(a), np.int64)}, spec("a"))
    with pytest.raises(ExplanationError, match="--explain-output; the outputs are label"):
        explained(model, row_of([1, 2, 3]))


def test_other_models_than_saved_models_have_no_gradients() -> None:
    with pytest.raises(GradientsError, match="tensorflow-saved-model"):
        explained(of_abc(lambda a, b, c: a), row_of([1, 2, 3]), method="integrated-gradients")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shap", None)
    explainer_class.cache_clear()
    try:
        with pytest.raises(MissingExtraError, match=r"install beam-serving\[explain\]"):
            explained(of_abc(lambda a, b, c: a), row_of([1, 2, 3]))
    finally:
        explainer_class.cache_clear()
