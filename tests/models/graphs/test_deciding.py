from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from models.columns.outputs import RecordOutputs
from models.errors import FieldValueError, ScoringError
from models.graphs.answers import Chosen
from models.graphs.combining import combine, vote_of_outputs
from models.graphs.deciding import decide
from models.model_topic.steps import CombineStep, DecideStep
from models.tensors import Array

NUMBERS = npst.arrays(np.float64, npst.array_shapes(min_dims=2, max_dims=2, max_side=5), elements=st.integers(-3, 3))


def chosen(array: Any, bounds: Any = None, reference: str = "s.out") -> Chosen:
    return Chosen(reference, np.asarray(array), bounds)


@given(NUMBERS)
def test_the_greatest_value_decides_and_of_equal_ones_the_first(values: Array) -> None:
    outputs = decide(DecideStep("d", "argmax", ("s",)), [chosen(values)]).arrays
    for row, place, score in zip(values.tolist(), outputs["decision"], outputs["score"], strict=True):
        assert (place, score) == (row.index(max(row)), max(row))


@given(NUMBERS, st.integers(1, 5))
def test_the_top_k_are_the_places_of_the_greatest_values(values: Array, k: int) -> None:
    step = DecideStep("d", "top-k", ("s",), k=k)
    if k > values.shape[1]:
        with pytest.raises(ScoringError, match=f"there are only {values.shape[1]} values for the top {k}"):
            decide(step, [chosen(values)])
        return
    outputs = decide(step, [chosen(values)]).arrays
    for row, places, scores in zip(values.tolist(), outputs["decision"], outputs["score"], strict=True):
        expected = sorted(range(len(row)), key=lambda place: (-row[place], place))[:k]
        assert (places.tolist(), scores.tolist()) == (expected, [row[place] for place in expected])


@given(st.lists(st.integers(-3, 3), min_size=1), st.lists(st.integers(-2, 2), min_size=1, max_size=3, unique=True))
def test_a_threshold_counts_the_limits_that_are_reached(values: list[int], limits: list[int]) -> None:
    step = DecideStep("d", "threshold", ("s",), tuple(sorted(map(float, limits))))
    outputs = decide(step, [chosen(np.array(values)[:, None])]).arrays
    assert outputs["decision"].tolist() == [sum(value >= limit for limit in limits) for value in values]


def test_places_are_called_by_their_labels() -> None:
    step = DecideStep("d", "argmax", ("a", "b"), labels=("no", "jå"))
    outputs = decide(step, [chosen([1.0, 2.0]), chosen([0, 3])]).arrays
    assert outputs["decision"].tolist() == [b"no", "jå".encode()]
    with pytest.raises(ScoringError, match="index 2 was chosen, but there are 2 labels"):
        decide(step, [chosen([[1, 2, 3]])])


@given(NUMBERS)
def test_a_reconstruction_error_is_the_mean_of_the_squared_differences(values: Array) -> None:
    step = DecideStep("d", "reconstruction-error", ("s",), (4.0,), against=("x",))
    outputs = decide(step, [chosen(values)], [chosen(values * 2)]).arrays
    expected = [sum(one * one for one in row) / len(row) for row in values.tolist()]
    assert outputs["error"].tolist() == pytest.approx(expected)
    clear = [(error, decision) for error, decision in zip(expected, outputs["decision"], strict=True) if error != 4]
    assert all(decision == (error > 4) for error, decision in clear)
    assert list(
        decide(
            DecideStep("d", "reconstruction-error", ("s",), against=("x",)), [chosen(values)], [chosen(values)]
        ).arrays
    ) == ["error"]


def test_what_cannot_be_decided_says_why() -> None:
    step = DecideStep("d", "threshold", ("s",), (1.0,))
    for one, kind, text in (
        (chosen([np.nan]), FieldValueError, "s.out is NaN"),
        (chosen(np.array([b"a"], object)), ScoringError, "s.out is object; a decision needs numbers"),
        (chosen([1, 2], np.array([0, 2])), ScoringError, "a varying number of items"),
        (chosen([[1, 2]]), ScoringError, "needs one value per record, but there are 2"),
    ):
        with pytest.raises(kind, match=text):
            decide(step, [one])
    error = DecideStep("d", "reconstruction-error", ("s",), against=("x",))
    with pytest.raises(ScoringError, match="2 reconstructed values cannot be compared with 1"):
        decide(error, [chosen([[1, 2]])], [chosen([1])])


# --- Combining.


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=4, max_size=4), min_size=1, max_size=5))
def test_the_most_frequent_text_wins_and_of_equally_frequent_ones_the_first(votes: list[list[str]]) -> None:
    arrays = [np.array([text.encode() for text in one], object).reshape(2, 2) for one in votes]
    step = CombineStep("v", "vote", ("s",))
    found = combine(step, [chosen(array) for array in arrays]).arrays["value"]
    expected = [max(column, key=column.count) for column in zip(*votes, strict=True)]
    assert found.ravel().tolist() == [text.encode() for text in expected]


def test_items_of_records_are_combined_item_by_item() -> None:
    bounds = np.array([0, 2, 3])
    step = CombineStep("m", "weighted", ("a", "b"), (1.0, 3.0), "risk")
    outputs = combine(step, [chosen([1, 2, 3], bounds), chosen([5, 6, 7], bounds)])
    assert outputs.arrays["risk"].tolist() == [4.0, 5.0, 6.0]
    assert outputs.bounds is bounds


@pytest.mark.parametrize("other", [chosen([[1.0], [2.0]]), chosen([1.0]), chosen([1.0, 2.0], np.array([0, 1, 2]))])
def test_outputs_of_different_shapes_are_not_combined(other: Chosen) -> None:
    with pytest.raises(ScoringError, match="they must have the same shape"):
        combine(CombineStep("m", "mean", ("a", "b")), [chosen([1.0, 2.0]), other])


def test_texts_have_no_mean_and_do_not_vote_with_numbers() -> None:
    texts = chosen(np.array([b"a"], object))
    with pytest.raises(ScoringError, match=r"s\.out is object, which has no mean"):
        combine(CombineStep("m", "mean", ("a",)), [texts])
    with pytest.raises(ScoringError, match="text and numbers cannot vote together"):
        combine(CombineStep("m", "vote", ("a", "b")), [texts, chosen([1])])
    with pytest.raises(ScoringError, match="outputs a and b cannot vote"):
        vote_of_outputs([RecordOutputs({name: np.zeros(1)}, None) for name in "ab"])
