from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.columns.outputs import RecordOutputs
from models.observing.confidence import confidences

FLOAT = np.float32


def found(**arrays: object) -> list[Any]:
    outputs = RecordOutputs({name: np.asarray(array) for name, array in arrays.items()}, None)
    return [None if np.isnan(one) else pytest.approx(one, abs=1e-6) for one in confidences(outputs)]


def test_the_largest_of_probabilities_is_the_confidence() -> None:
    scores = np.array([[0.2, 0.5, 0.3], [0.01, 0.01, 0.98]], FLOAT)
    assert found(scores=scores) == [0.5, 0.98]
    assert found(scores=scores.reshape(2, 3, 1)) == [0.5, 0.98]


@pytest.mark.parametrize(
    "values",
    [[0.2, 0.5, 0.4], [-0.5, 1.5], [0.5, np.nan], [np.inf, 0.0], [0.5, 0.498]],
    ids=["sum", "negative", "nan", "infinite", "tolerance"],
)
def test_other_vectors_are_no_probabilities(values: list[float]) -> None:
    assert found(scores=np.array([values, [0.25] * (len(values) - 1) + [1 - 0.25 * (len(values) - 1)]])) == [
        None,
        max(0.25, 1 - 0.25 * (len(values) - 1)),
    ]


def test_a_single_probability_is_that_of_a_binary_classifier() -> None:
    single = np.array([0.9, 0.2, 1.5], FLOAT)
    assert found(Probability=single) == [0.9, 0.8, None]
    assert found(probabilities=single.reshape(3, 1)) == [0.9, 0.8, None]
    assert found(prediction=single) == [None, None, None]


def test_the_first_output_that_looks_like_probabilities_counts() -> None:
    label, scores = np.array([b"a", b"b"], object), np.array([[0.3, 0.7], [0.6, 0.4]])
    assert found(label=label, number=np.array([1, 0]), logits=scores * 3, scores=scores, others=1 - scores) == [
        0.7,
        0.6,
    ]


def test_answers_with_a_row_for_each_item_and_those_without_values_have_none() -> None:
    items = RecordOutputs({"scores": np.array([[0.3, 0.7]] * 3)}, np.array([0, 1, 1, 3]))
    assert np.isnan(confidences(items)).tolist() == [True] * 3
    assert found(scores=np.zeros((2, 0))) == [None, None]
    assert confidences(RecordOutputs({}, None)).tolist() == []
    assert confidences(RecordOutputs({"scores": np.zeros((0, 2))}, None)).tolist() == []
