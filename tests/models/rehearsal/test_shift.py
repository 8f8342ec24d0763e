"""The population stability index, against a slow implementation that counts in plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.rehearsal.shift import category_shift, number_shift, shift_of

NUMBERS = st.one_of(
    st.floats(width=32),
    st.integers(-3, 3).map(float),
    st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, 1e-30]),
)
LISTS = st.lists(NUMBERS, min_size=1, max_size=60)


def slow_shift(live: Sequence[float], candidate: Sequence[float]) -> float:
    """The definition, taken literally: bins are found by counting, and each value is assigned to its bin."""
    known = [value for value in live if not math.isnan(value)]
    deciles = [
        min(value for value in known if 10 * sum(other <= value for other in known) >= tenth * len(known))
        for tenth in range(1, 10)
        if known
    ]
    ends = sorted(set(deciles))
    alone = {value for value in ends if deciles.count(value) > 1}

    def bin_of(value: float) -> str:
        if math.isnan(value):
            return "nan"
        above = [end for end in ends if value <= end]
        if not above:
            return "last"
        return f"only {above[0]}" if value == above[0] and value in alone else f"to {above[0]}"

    ours, theirs = [bin_of(value) for value in live], [bin_of(value) for value in candidate]
    bins = sorted({*ours, *theirs})
    total = 0.0
    for one in bins:
        p = (ours.count(one) + 0.5) / (len(ours) + 0.5 * len(bins))
        q = (theirs.count(one) + 0.5) / (len(theirs) + 0.5 * len(bins))
        total += (q - p) * math.log(q / p)
    return total


@given(LISTS, LISTS)
def test_it_is_what_counting_gives(live: list[float], candidate: list[float]) -> None:
    found = number_shift(np.array(live), np.array(candidate))
    assert found == pytest.approx(slow_shift(live, candidate), abs=1e-9)
    assert found >= 0


@given(LISTS, st.randoms(use_true_random=False))
def test_the_same_values_in_any_order_are_no_shift(values: list[float], chance: object) -> None:
    shuffled = list(values)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert number_shift(np.array(values), np.array(shuffled)) == 0.0


@given(st.lists(st.integers(-100, 100), min_size=1), st.lists(st.integers(-100, 100), min_size=1))
def test_only_the_order_of_the_values_counts(live: list[int], candidate: list[int]) -> None:
    plain = number_shift(np.array(live), np.array(candidate))
    assert plain == pytest.approx(number_shift(np.array(live) * 8 + 3, np.array(candidate) * 8 + 3))


@pytest.mark.parametrize("shift", [-1.0, 1.0])
def test_a_constant_output_that_becomes_another_constant_has_shifted_in_either_direction(shift: float) -> None:
    live = np.full(1_000, 5.0)
    assert number_shift(live, live + shift) > 10


def test_a_model_that_becomes_constant_has_shifted() -> None:
    assert number_shift(np.arange(1_000.0), np.full(1_000, 500.0)) > 1


def test_a_share_that_becomes_nan_is_a_shift() -> None:
    live = np.arange(1_000.0)
    assert number_shift(live, np.where(live % 4 == 0, np.nan, live)) > 0.2


def test_two_samples_of_one_distribution_have_hardly_shifted() -> None:
    chance = np.random.default_rng(1)
    found = [number_shift(chance.normal(size=10_000), chance.normal(size=10_000)) for _ in range(100)]
    assert max(found) < 0.01


def test_a_normal_distribution_that_is_moved_by_half_its_deviation_has_the_shift_of_the_textbook() -> None:
    chance = np.random.default_rng(2)
    # For normal distributions the PSI without bins is the square of the distance in deviations; bins lose some of it.
    found = number_shift(chance.normal(size=100_000), chance.normal(0.5, size=100_000))
    assert 0.2 < found < 0.25


@pytest.mark.parametrize("values", [[], [math.nan]])
def test_without_values_there_is_no_shift(values: list[float]) -> None:
    assert number_shift(np.array(values), np.array(values)) == 0.0
    assert number_shift(np.array([]), np.array([1.0])) == 0.0


@given(arrays.arrays(np.float64, (30, 3), elements=st.floats(-5, 5)), st.integers(0, 2))
def test_of_several_components_the_one_that_shifted_most_counts(live: object, place: int) -> None:
    assert isinstance(live, np.ndarray)
    candidate = live.copy()
    candidate[:, place] += 2.0
    assert shift_of(live, candidate) == number_shift(live[:, place], candidate[:, place])


def test_outputs_of_other_widths_are_compared_as_one() -> None:
    live, candidate = np.arange(30.0).reshape(10, 3), np.arange(30.0).reshape(15, 2)
    assert shift_of(live, candidate) == 0.0


@given(st.lists(st.sampled_from("abc"), min_size=1), st.lists(st.sampled_from("abcd"), min_size=1))
def test_texts_are_counted_by_their_names(live: list[str], candidate: list[str]) -> None:
    names = sorted({*live, *candidate}, key=lambda name: (name not in live, name))
    total = 0.0
    for name in names:
        p = (live.count(name) + 0.5) / (len(live) + 0.5 * len(names))
        q = (candidate.count(name) + 0.5) / (len(candidate) + 0.5 * len(names))
        total += (q - p) * math.log(q / p)
    found = category_shift(np.array(live, object), np.array(candidate, object))
    # All texts that the live model never returns form one category.
    unknown = {*candidate} - {*live}
    if len(unknown) <= 1:
        assert found == pytest.approx(total)
    assert found >= 0


def test_rare_texts_are_one_category() -> None:
    live = np.array([f"{number}" for number in range(1_000)], object)
    assert category_shift(live, live) == 0.0
    assert category_shift(live, np.array(["0"] * 1_000, object)) > 5
