"""The measures of drift, compared with scipy's, and the chances of a false alarm that their limits promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.observing.drift.measures import (
    LEAST_PSI,
    Figure,
    chi_square_limit,
    compare_accuracy,
    compare_sketches,
    rise_chance,
)
from models.observing.drift.sketches import CategorySketch, FieldSketch, Floats, NumberSketch

CHANCE = 1e-6
COUNTS = st.integers(1, 3_000)


def numbers(values: Floats) -> NumberSketch:
    sketch = NumberSketch()
    sketch.add(values)
    return sketch


def categories(**counts: int) -> CategorySketch:
    sketch = CategorySketch()
    sketch.add(name for name, count in counts.items() for _ in range(count))
    return sketch


def figures(baseline: FieldSketch, window: FieldSketch, chance: float = CHANCE) -> dict[str, Figure]:
    return {one.measure: one for one in compare_sketches(baseline, window, chance)}


@pytest.mark.parametrize("shift", [0.0, 0.1, 1.0])
def test_kolmogorov_smirnov_is_that_of_scipy_while_the_sketches_are_exact(shift: float) -> None:
    chance = np.random.default_rng(3)
    before = chance.standard_normal(700).astype(np.float32).astype(np.float64)
    after = np.round(chance.standard_normal(400) + shift, 1).astype(np.float32).astype(np.float64)
    found = figures(numbers(before), numbers(after))["ks"]
    assert found.value == pytest.approx(stats.ks_2samp(before, after).statistic)


def test_kolmogorov_smirnov_of_many_values_is_as_exact_as_the_sketches() -> None:
    chance = np.random.default_rng(4)
    before, after = chance.standard_normal(200_000), chance.standard_normal(100_000) + 0.2
    baseline, window = numbers(before), numbers(after)
    error = baseline.rank_error + window.rank_error
    assert 0 < error < 0.01
    assert figures(baseline, window)["ks"].value == pytest.approx(stats.ks_2samp(before, after).statistic, abs=error)


@pytest.mark.parametrize("chance", [1e-3, 1e-6, 1e-9])
def test_the_limit_of_kolmogorov_smirnov_is_its_asymptotic_one(chance: float) -> None:
    one = numbers(np.arange(500.0))
    limit = figures(one, numbers(np.arange(700.0)), chance)["ks"].limit
    assert 2 * stats.kstwobign.sf(limit / np.sqrt(1 / 500 + 1 / 700)) == pytest.approx(2 * chance, rel=1e-2)


@pytest.mark.parametrize("freedom", [1, 3, 9, 50])
@pytest.mark.parametrize("chance", [0.01, 1e-5, 1e-8])
def test_the_limit_of_chi_square_is_that_of_scipy_or_a_little_stricter(freedom: int, chance: float) -> None:
    assert 0.97 < chi_square_limit(freedom, chance) / stats.chi2.isf(chance, freedom) < 1.25


def test_the_population_stability_index_of_known_shares() -> None:
    found = figures(categories(a=5000, b=3000, c=2000), categories(a=400, b=400, c=200))["psi"]
    assert found.value == pytest.approx(-0.1 * np.log(0.4 / 0.5) + 0.1 * np.log(0.4 / 0.3), rel=0.01)
    normal = np.random.default_rng(5).standard_normal(100_000)
    found = figures(numbers(normal), numbers(normal + 0.5))["psi"]
    assert found.value == pytest.approx(0.5**2, rel=0.1), "the symmetric divergence of two normal distributions"
    assert found.limit == LEAST_PSI and found.exceeded


@given(COUNTS, COUNTS, st.data())
def test_the_chance_of_a_rise_is_never_below_the_true_one(size: int, size_before: int, data: st.DataObject) -> None:
    hits, before = data.draw(st.integers(0, size)), data.draw(st.integers(0, size_before))
    true = stats.hypergeom.sf(hits - 1, size + size_before, hits + before, size)
    assert rise_chance(hits, size, before, size_before) >= true * (1 - 1e-9)


def test_shares_count_from_the_first_number_that_is_no_chance() -> None:
    for missing in (10, 15, 20, 30):
        window = numbers(np.array([1.0] * (1000 - missing) + [np.nan] * missing))
        found = figures(numbers(np.ones(5000)), window)["nulls"]
        significant = rise_chance(missing, 1000, 0, 5000) <= CHANCE and missing / 1000 > 0.01
        assert found.value == missing / 1000 and found.exceeded == significant
    assert not significant or missing >= 15


def test_categories_that_the_baseline_lacks_are_unseen_unless_it_has_many_rare_ones() -> None:
    few, window = categories(a=5000, b=5000), categories(a=490, b=490, new=20)
    assert figures(few, window)["unseen"].exceeded
    rare = categories(a=5000, b=4800, **{f"r{at}": 1 for at in range(200)})
    assert not figures(rare, window)["unseen"].exceeded
    many = categories(**{f"user{at}": 1 for at in range(1000)})
    assert set(figures(many, window)) == {"nulls"}, "identifiers have no usual categories"


def test_only_a_fall_of_the_accuracy_counts() -> None:
    assert compare_accuracy(700, 1000, 4500, 5000, CHANCE).exceeded
    assert not compare_accuracy(890, 1000, 4500, 5000, CHANCE).exceeded
    assert not compare_accuracy(1000, 1000, 4500, 5000, CHANCE).exceeded


def test_infinite_numbers_and_empty_fields_are_compared() -> None:
    infinite = numbers(np.array([np.inf, -np.inf, 1.0] * 200))
    assert all(np.isfinite([one.value, one.limit]).all() for one in compare_sketches(infinite, infinite, CHANCE))
    assert set(figures(numbers(np.ones(100)), numbers(np.full(100, np.nan)))) == {"nulls"}
    assert figures(numbers(np.zeros(0)), numbers(np.ones(100))) == {}
