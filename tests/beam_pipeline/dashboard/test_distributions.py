"""Distributions of predictions: what is compared, and that memory is bounded."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.dashboard.distributions import MOST_SERIES, MOST_VALUES, Distributions, prediction_of

VALUES = st.one_of(st.floats(), st.integers(), st.booleans(), st.none(), st.binary(max_size=5), st.text(max_size=5))


def tensor(*values: Any) -> dict[str, Any]:
    return {"shape": [len(values)], "values": list(values)}


def test_two_versions_share_bins_and_their_shares_are_those_of_numpy() -> None:
    distributions = Distributions()
    drawn = np.random.default_rng(7)
    first, second = drawn.normal(0, 1, 900), drawn.normal(3, 1, 900)
    for version, numbers in ((2, first), (3, second)):
        for number in numbers:
            distributions.add(version, {"score": tensor(float(number))})
    (chart,) = distributions.charts([2, 3])
    assert (chart["output"], chart["kind"]) == ("score", "number")
    low, high = np.percentile([*first, *second], [0.5, 99.5])
    counts, _ = np.histogram(np.clip(second, low, high), np.linspace(low, high, 25))
    assert chart["shares"]["3"] == pytest.approx(counts / 9, abs=0.01)
    assert sum(chart["shares"]["2"]) == pytest.approx(100, abs=0.2)


def test_probabilities_are_counted_by_the_most_probable_class() -> None:
    distributions = Distributions()
    for probabilities in ((0.7, 0.2, 0.1), (0.1, 0.2, 0.7), (0.2, 0.2, 0.6), (0.0, 1.0, 0.0)):
        distributions.add(2, {"classes": tensor(*probabilities)})
    (chart,) = distributions.charts([2])
    assert (chart["labels"], chart["shares"]["2"]) == (["0", "1", "2"], [25, 25, 50])


def test_few_whole_numbers_are_labels_in_the_order_of_their_size() -> None:
    distributions = Distributions()
    for number in (10, 2, 2, -1):
        distributions.add(2, {"grade": tensor(number)})
    (chart,) = distributions.charts([2])
    assert (chart["labels"], chart["shares"]["2"]) == (["-1", "2", "10"], [25, 50, 25])


def test_rare_labels_are_together() -> None:
    distributions = Distributions()
    for number in range(900):
        distributions.add(2, {"word": tensor(b"often" if number % 2 else f"rare {number}".encode())})
    (chart,) = distributions.charts([2])
    assert chart["labels"][-1] == "other"
    assert len(chart["labels"]) == 21
    assert chart["shares"]["2"][chart["labels"].index("often")] == 50


def test_only_the_wanted_versions_are_compared() -> None:
    distributions = Distributions()
    for version in (2, 3):
        distributions.add(version, {"x": tensor(1.5)})
    (chart,) = distributions.charts([3])
    assert list(chart["shares"]) == ["3"]


@given(st.lists(VALUES, max_size=6))
def test_any_values_are_a_prediction_or_none(values: list[Any]) -> None:
    prediction = prediction_of(values)
    if prediction is None:
        return
    assert prediction.values
    if prediction.kind == "number":
        assert all(isinstance(one, float) and math.isfinite(one) for one in prediction.values)
    else:
        assert all(isinstance(one, str) and len(one) <= 40 for one in prediction.values)


@given(st.lists(st.tuples(st.integers(0, 5), st.lists(VALUES, max_size=4)), max_size=60))
def test_any_mixture_of_values_gives_charts_of_a_hundred_percent(answers: list[tuple[int, list[Any]]]) -> None:
    distributions = Distributions()
    for version, values in answers:
        distributions.add(version, {"x": tensor(*values), "y": tensor(*reversed(values))})
    for chart in distributions.charts(range(6)):
        for shares in chart["shares"].values():
            assert sum(shares) == pytest.approx(100, abs=0.5)
            assert len(shares) == (len(chart["labels"]) if chart["kind"] == "label" else len(chart["edges"]) - 1)


def test_memory_is_bounded() -> None:
    distributions = Distributions()
    for version in range(1_000):
        distributions.add(version, {f"output {place}": tensor(*map(float, range(50))) for place in range(20)})
    for _ in range(200):
        distributions.add(999, {"output 0": tensor(*map(float, range(50)))})
    assert len(distributions._series) <= MOST_SERIES
    assert max(len(values) for _, values in distributions._series.values()) <= MOST_VALUES
