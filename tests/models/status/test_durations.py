from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.status.durations import added, bucket_of, percentile

DURATIONS = st.lists(st.floats(0.002, 1e6), min_size=1)


@given(DURATIONS, st.sampled_from([1.0, 50.0, 90.0, 99.0, 100.0]))
def test_a_percentile_is_that_of_the_durations_within_the_width_of_a_bucket(found: list[float], percent: float) -> None:
    exact = float(np.percentile(found, percent, method="inverted_cdf"))
    assert percentile(Counter(map(bucket_of, found)), percent) == pytest.approx(exact, rel=0.046)


@given(DURATIONS, DURATIONS)
def test_a_sum_of_histograms_is_the_histogram_of_all(one: list[float], other: list[float]) -> None:
    parts = [Counter(map(bucket_of, one)), Counter(map(bucket_of, other))]
    assert added(parts) == Counter(map(bucket_of, [*one, *other]))


@pytest.mark.parametrize("milliseconds", [0.0, -1.0, 1e-300, float("nan"), 1e300, float("inf")])
def test_every_number_has_a_bucket(milliseconds: float) -> None:
    assert -80 <= int(bucket_of(milliseconds)) <= 175


def test_without_durations_a_percentile_is_zero() -> None:
    assert percentile({}, 99) == 0
