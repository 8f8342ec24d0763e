"""Agreement of two models, against loops over rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.columns.agreement import agreeing_records, agreeing_rows, taken
from models.columns.outputs import RecordOutputs

SCORES = st.one_of(st.floats(-2, 2, width=32), st.sampled_from([0.0, 1.0, math.nan, math.inf, -math.inf]))


def pairs(width: int) -> st.SearchStrategy[tuple[Any, Any]]:
    shape = st.tuples(st.integers(0, 8), st.just(width))
    return shape.flatmap(
        lambda shape: st.tuples(*(arrays.arrays(np.float32, shape, elements=SCORES) for _ in range(2)))
    )


def first_highest(scores: list[float]) -> int:
    known = [-math.inf if math.isnan(score) else score for score in scores]
    return known.index(max(known))


@given(pairs(3))
def test_class_scores_agree_where_the_highest_is_in_the_same_place(both: tuple[Any, Any]) -> None:
    candidate, live = both
    expected = [
        first_highest(ours) == first_highest(theirs)
        and [math.isnan(a) for a in ours] == [math.isnan(b) for b in theirs]
        for ours, theirs in zip(candidate.tolist(), live.tolist(), strict=True)
    ]
    assert agreeing_rows(candidate, live, 0.0).tolist() == expected


@given(pairs(1), st.sampled_from([0.0, 0.01, 0.5]), st.booleans())
def test_numbers_agree_within_the_tolerance(both: tuple[Any, Any], tolerance: float, column: bool) -> None:
    candidate, live = (one if column else one.ravel() for one in both)

    def near(ours: float, theirs: float) -> bool:
        if math.isnan(ours) or math.isnan(theirs):
            return math.isnan(ours) and math.isnan(theirs)
        if math.isinf(ours) or math.isinf(theirs):
            return ours == theirs
        return abs(ours - theirs) <= tolerance + tolerance * abs(theirs)

    expected = [near(a, b) for a, b in zip(candidate.ravel().tolist(), live.ravel().tolist(), strict=True)]
    assert agreeing_rows(candidate, live, tolerance).tolist() == expected


def _values(kind: str, numbers: list[int]) -> Any:
    if kind == "text":
        return np.array([*(b"%d" % number for number in numbers), None], object)[:-1]
    if kind == "flag":
        return np.array([number > 0 for number in numbers], np.bool_)
    array = np.array(numbers, np.int64)
    return array if kind == "int" else np.stack([array, array], axis=1)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2))), st.sampled_from(["int", "text", "flag", "pair"]))
def test_other_values_agree_when_they_are_equal(values: list[tuple[int, int]], kind: str) -> None:
    ours, theirs = [a for a, _ in values], [b for _, b in values]
    expected = [(a > 0) == (b > 0) if kind == "flag" else a == b for a, b in values]
    assert agreeing_rows(_values(kind, ours), _values(kind, theirs), 1e9).tolist() == expected


@pytest.mark.parametrize(
    ("candidate", "live"),
    [
        (np.zeros(2), np.zeros(2, np.int64)),
        (np.zeros((2, 3)), np.zeros((2, 1))),
        (np.zeros((2, 3), np.int64), np.zeros((2, 2), np.int64)),
        (np.array([b"0.0", b"0.0"], object), np.zeros(2)),
    ],
)
def test_outputs_of_other_kinds_or_shapes_never_agree(candidate: Any, live: Any) -> None:
    assert agreeing_rows(candidate, live, 1e9).tolist() == [False, False]


def test_more_classes_may_agree_about_the_highest_one() -> None:
    live, candidate = np.array([[0.1, 0.9], [0.9, 0.1]]), np.array([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    assert agreeing_rows(candidate, live, 0.0).tolist() == [True, False]


# --- Records with a row for each item.


LENGTHS = st.lists(st.integers(0, 3), max_size=6)


def exploded(lengths: list[int], values: Any) -> RecordOutputs:
    return RecordOutputs({"y": values}, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


@given(LENGTHS, st.data())
def test_a_record_agrees_when_all_of_its_rows_do(lengths: list[int], data: st.DataObject) -> None:
    values = arrays.arrays(np.float32, (sum(lengths), 1), elements=st.sampled_from([0.0, 1.0]))
    ours, theirs = exploded(lengths, data.draw(values)), exploded(lengths, data.draw(values))
    found = agreeing_records("y", ours, theirs, 0.0)
    expected = [ours.of(record)["y"].tolist() == theirs.of(record)["y"].tolist() for record in range(len(lengths))]
    assert found.tolist() == expected


@given(LENGTHS, st.data())
def test_some_records_are_taken_with_all_of_their_rows(lengths: list[int], data: st.DataObject) -> None:
    outputs = exploded(lengths, np.arange(sum(lengths) * 2.0).reshape(-1, 2))
    records = range(len(lengths))
    places = data.draw(st.lists(st.sampled_from(records))) if lengths else []
    found = taken(outputs, np.array(places, np.intp))
    assert [found.of(at)["y"].tolist() for at in range(len(places))] == [
        outputs.of(place)["y"].tolist() for place in places
    ]


def test_records_with_other_numbers_of_rows_never_agree() -> None:
    ones = np.ones((3, 1))
    assert agreeing_records("y", exploded([1, 2], ones), exploded([2, 1], ones), 0.0).tolist() == [False, False]
    plain = RecordOutputs({"y": ones}, None)
    assert agreeing_records("y", exploded([1, 1, 1], ones), plain, 0.0).tolist() == [False] * 3


def test_an_output_that_the_candidate_does_not_have_never_agrees() -> None:
    outputs = RecordOutputs({"y": np.ones(2)}, None)
    assert agreeing_records("y", RecordOutputs({"z": np.ones(2)}, None), outputs, 0.0).tolist() == [False, False]
