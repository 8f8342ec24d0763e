from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.columns.labels import LARGEST_DEVIATION, Label, LabelledAnswer, Value, comparable_answers, compare
from models.columns.outputs import RecordOutputs
from models.tensors import Array


@pytest.mark.parametrize(
    ("array", "answers"),
    [
        (np.array([[0.1, 0.7, 0.2], [0.9, 0.0, 0.1], [np.nan, 1.0, 0.0]]), [1, 0, -1]),
        (np.array([1.5, 2.5]), [1.5, 2.5]),
        (np.array([[3], [4]]), [3, 4]),
        (np.array([True, False]), [True, False]),
        (np.array([b"red", "blue"], object), ["red", "blue"]),
    ],
)
def test_an_answer_is_the_place_of_the_highest_score_or_a_single_value(array: Array, answers: list[Value]) -> None:
    assert comparable_answers(RecordOutputs({"y": array}, None)) == [{"y": one} for one in answers]


def test_vectors_and_records_of_several_rows_have_no_answer() -> None:
    assert comparable_answers(RecordOutputs({"y": np.array([[1, 2]])}, None)) == [{}]
    outputs = RecordOutputs({"y": np.array([1.0, 2.0, 3.0])}, np.array([0, 2, 3, 3]))
    assert comparable_answers(outputs) == [{}, {"y": 3.0}, {}]


@pytest.mark.parametrize(
    ("answers", "label", "found"),
    [
        ({"y": 2}, Label(2), LabelledAnswer(True, 0.0)),
        ({"y": 2}, Label(5), LabelledAnswer(False, 3.0)),
        ({"y": 10.0625}, Label(10), LabelledAnswer(True, 0.0625)),
        ({"y": 10.5}, Label(10), LabelledAnswer(False, 0.5)),
        ({"y": "red"}, Label("red"), LabelledAnswer(True)),
        ({"y": True}, Label(False), LabelledAnswer(False)),
        ({"y": 1.0, "z": 4.0}, Label(4, "z"), LabelledAnswer(True, 0.0)),
        ({"y": 1.0, "z": 4.0}, Label(4), None),
        ({"y": 1.0}, Label(1, "z"), None),
        ({"y": "1"}, Label(1), None),
        ({"y": 1}, Label(True), None),
        ({}, Label(1), None),
    ],
)
def test_an_answer_is_compared_with_its_label(
    answers: dict[str, Value], label: Label, found: LabelledAnswer | None
) -> None:
    assert compare(answers, label, 0.01) == found


@given(st.floats(), st.one_of(st.floats(), st.integers()))
def test_deviations_can_be_summed_up_whatever_was_answered(answer: float, label: float) -> None:
    found = compare({"y": answer}, Label(label), 0.001)
    assert found is not None
    assert found.deviation is not None
    assert 0 <= found.deviation <= LARGEST_DEVIATION
    assert math.isfinite(found.deviation**2 * 1e6)
