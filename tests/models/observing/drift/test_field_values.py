"""The values of features and outputs, one for each record."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.columns.outputs import RecordOutputs
from models.observing.drift.field_values import feature_values, output_values
from models.observing.drift.profile import FieldKey, Profile
from models.observing.drift.sketches import CategorySketch

COLUMNS = pa.record_batch(
    {
        "whole": pa.array([1, None, 3], pa.int32()),
        "number": pa.array([0.5, float("nan"), None]),
        "truth": pa.array([True, None, False]),
        "text": pa.array(["a", "b", None]),
        "code": pa.array(["x", None, "x"]).dictionary_encode(),
        "list": pa.array([[1, 2], [], [7, 8, 9]], pa.list_(pa.int64())),
        "nested": pa.array([{"a": 1}] * 3),
        "bytes": pa.array([b"1", b"2", b"3"]),
    }
)


def plain(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [None if np.isnan(one) else one for one in values.tolist()]


def features(*names: str) -> dict[str, list[Any]]:
    return {key.name: plain(values) for key, values in feature_values(COLUMNS, names)}


def test_the_features_of_a_model_have_values_and_other_fields_have_none() -> None:
    assert features("number", "whole", "absent") == {"number": [0.5, None, None], "whole": [1.0, None, 3.0]}
    assert features("truth", "text", "code", "nested", "bytes") == {
        "truth": ["true", None, "false"],
        "text": ["a", "b", None],
        "code": ["x", None, "x"],
    }


def test_each_record_contributes_one_item_of_a_list() -> None:
    assert features("list") == {"list": [1.0, None, 9.0]}
    (sliced,) = (plain(values) for _, values in feature_values(COLUMNS.slice(2), ["list"]))
    assert sliced == [7.0]


def outputs(bounds: list[int] | None = None, **arrays: Any) -> dict[FieldKey, list[Any]]:
    found = RecordOutputs(
        {name: np.array(array) for name, array in arrays.items()}, None if bounds is None else np.array(bounds)
    )
    return {key: plain(values) for key, values in output_values(found)}


def test_class_scores_become_a_class_and_a_confidence() -> None:
    found = outputs(scores=[[0.1, 0.9], [0.75, 0.25], [float("nan"), 1.0]])
    assert found == {
        FieldKey("output", "scores"): ["1", "0", None],
        FieldKey("confidence", "scores"): [0.9, 0.75, None],
    }


def test_class_scores_need_not_be_probabilities_and_a_record_without_rows_has_none() -> None:
    found = outputs([0, 1, 1, 2], logits=[[-7.0, -3.0], [float("inf"), 2.0]])
    assert found == {
        FieldKey("output", "logits"): ["1", None, "0"],
        FieldKey("confidence", "logits"): [-3.0, None, float("inf")],
    }


def test_records_without_rows_do_not_turn_class_scores_into_numbers() -> None:
    profile, scores = Profile(), np.array([[0.1, 0.9], [0.8, 0.2]])
    for outputs in (RecordOutputs({"scores": scores[:0]}, np.array([0, 0])), RecordOutputs({"scores": scores}, None)):
        profile.add(len(scores), dict(output_values(outputs)))
    classes = profile.fields[FieldKey("output", "scores")]
    assert isinstance(classes, CategorySketch)
    assert classes.counts == {"1": 1, "0": 1}


def test_single_values_are_taken_as_they_are_and_vectors_of_others_are_left_out() -> None:
    found = outputs(price=[[1.5], [2.5]], count=[1, 2], label=[b"red", b"\xff"], yes=[True, False], vector=[[1, 2]] * 2)
    assert {key.name: values for key, values in found.items()} == {
        "price": [1.5, 2.5],
        "count": [1.0, 2.0],
        "label": ["red", "�"],
        "yes": ["true", "false"],
    }


@pytest.mark.parametrize("bounds", [[0, 2, 2, 3]])
def test_each_record_contributes_one_of_its_rows(bounds: list[int]) -> None:
    assert outputs(bounds, price=[1.0, 2.0, 3.0]) == {FieldKey("output", "price"): [1.0, None, 3.0]}
    assert outputs([0, 0], price=np.zeros(0)) == {FieldKey("output", "price"): [None]}
