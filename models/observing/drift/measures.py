"""How two samples of one field differ, and from which figure on that is no chance.

Every limit holds for a given chance of a false alarm, for samples of any size. The comparison is between two samples,
because a baseline is a sample as well. A figure must also reach a least effect: in large samples, differences that
nobody would care about are significant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from models.observing.drift.sketches import CategorySketch, FieldSketch, Floats, NumberSketch

Measure = Literal["ks", "psi", "nulls", "unseen", "accuracy"]

LEAST_KS = 0.03
LEAST_PSI = 0.1
LEAST_NULLS = 0.01
LEAST_UNSEEN = 0.005
LEAST_ACCURACY = 0.02
MEASURES_PER_FIELD = 3
"""The number of figures of a field, which share the chance of a false alarm."""
_BINS = 10
_RARE = 5.0


@dataclass(frozen=True)
class Figure:
    """How much two samples differ by one measure.

    Attributes:
      measure: ks: the largest difference between the cumulative shares (Kolmogorov-Smirnov); psi: the population
        stability index; nulls, unseen: the share of missing values, and of categories that the baseline does not
        contain; accuracy: the share of labels that the answers match.
      value: the figure.
      limit: the figure from which on it counts as drift: above it, and for accuracy below it.
    """

    measure: Measure
    value: float
    limit: float

    @property
    def exceeded(self) -> bool:
        """Whether it is drift."""
        return self.value < self.limit if self.measure == "accuracy" else self.value > self.limit


def compare_sketches(baseline: FieldSketch, window: FieldSketch, chance: float) -> Iterator[Figure]:
    """Compares a window of a field with its baseline; sketches of different kinds are not compared.

    Args:
      baseline: the sketch of the baseline.
      window: the sketch of the window.
      chance: the chance of a false alarm for each of the figures.
    """
    whole, whole_before = window.count + window.missing, baseline.count + baseline.missing
    if whole and whole_before:
        yield _share("nulls", window.missing, whole, baseline.missing, whole_before, chance, LEAST_NULLS)
    if not window.count or not baseline.count:
        return
    if isinstance(baseline, NumberSketch) and isinstance(window, NumberSketch):
        yield _ks(baseline, window, chance)
        yield _number_psi(baseline, window, chance)
    elif isinstance(baseline, CategorySketch) and isinstance(window, CategorySketch) and not baseline.others:
        unseen = sum(number for name, number in window.counts.items() if name not in baseline.counts) + window.others
        # What occurred once tells how many categories the baseline missed (Good and Turing).
        missed = sum(number == 1 for number in baseline.counts.values())
        yield _share("unseen", unseen, window.count, missed, baseline.count, chance, LEAST_UNSEEN)
        yield _category_psi(baseline, window, chance)


def compare_accuracy(correct: int, labels: int, correct_before: int, labels_before: int, chance: float) -> Figure:
    """Compares the share of correct answers with that of the baseline; only a fall counts."""
    wrong = _share(
        "accuracy", labels - correct, labels, labels_before - correct_before, labels_before, chance, LEAST_ACCURACY
    )
    return Figure("accuracy", 1 - wrong.value, 1 - wrong.limit)


def _ks(baseline: NumberSketch, window: NumberSketch, chance: float) -> Figure:
    (values, weights), (before, weights_before) = window.distribution(), baseline.distribution()
    points = np.union1d(values, before)
    difference = _cumulative(values, weights, points) - _cumulative(before, weights_before, points)
    # Kolmogorov's distribution is at most 2 exp(-2 x^2).
    scale = math.sqrt(math.log(2 / chance) / 2) * math.sqrt(1 / window.count + 1 / baseline.count)
    limit = max(LEAST_KS, scale + window.rank_error + baseline.rank_error)
    return Figure("ks", float(np.abs(difference).max()), limit)


def _cumulative(values: Floats, weights: Floats, points: Floats) -> Floats:
    sums = np.concatenate([[0.0], np.cumsum(weights)])
    found: Floats = sums[np.searchsorted(values, points, side="right")] / sums[-1]
    return found


def _number_psi(baseline: NumberSketch, window: NumberSketch, chance: float) -> Figure:
    before, weights_before = baseline.distribution()
    values, weights = window.distribution()
    shares = np.cumsum(weights_before) / weights_before.sum()
    places = np.searchsorted(shares, np.arange(1, _BINS) / _BINS)
    cuts = np.unique(before[np.minimum(places, len(before) - 1)])
    return _psi(_binned(cuts, values, weights), _binned(cuts, before, weights_before), chance)


def _binned(cuts: Floats, values: Floats, weights: Floats) -> Floats:
    """The number of values up to each cut, and behind the last one."""
    return np.bincount(np.searchsorted(cuts, values), weights, len(cuts) + 1).astype(np.float64)


def _category_psi(baseline: CategorySketch, window: CategorySketch, chance: float) -> Figure:
    share = window.count / baseline.count
    common = [name for name, number in baseline.counts.items() if number * min(share, 1.0) >= _RARE]
    found = [float(window.counts[name]) for name in common]
    before = [float(baseline.counts[name]) for name in common]
    rest = window.count - sum(found), baseline.count - sum(before)
    # Categories that the baseline lacks have a measure of their own.
    if rest[1] * min(share, 1.0) >= _RARE:
        found.append(rest[0])
        before.append(rest[1])
    if not before:
        return Figure("psi", 0.0, LEAST_PSI)
    return _psi(np.array(found), np.array(before), chance)


def _psi(found: Floats, before: Floats, chance: float) -> Figure:
    """The index of two histograms with the same bins; half a record is added to each bin, so that none is empty."""
    size, size_before = float(found.sum()), float(before.sum())
    if not size or len(found) < 2:
        return Figure("psi", 0.0, LEAST_PSI)
    shares = (found + 0.5) / (size + 0.5 * len(found))
    shares_before = (before + 0.5) / (size_before + 0.5 * len(before))
    value = float(((shares - shares_before) * np.log(shares / shares_before)).sum())
    limit = (1 / size + 1 / size_before) * chi_square_limit(len(found) - 1, chance)
    return Figure("psi", value, max(LEAST_PSI, limit))


def chi_square_limit(freedom: int, chance: float) -> float:
    """The value that a chi-square variable exceeds with this chance, by Wilson's and Hilferty's approximation.

    >>> round(chi_square_limit(9, 0.05), 1)
    16.9
    """
    spread = 2 / (9 * freedom)
    return float(freedom * (1 - spread + NormalDist().inv_cdf(1 - chance) * math.sqrt(spread)) ** 3)


def _share(
    measure: Measure, hits: int, size: int, before: int, size_before: int, chance: float, least: float
) -> Figure:
    """The share of hits in a window, and the least number of hits, as a share, that is no chance."""
    low, high = 0, size + 1
    while low < high:
        middle = (low + high) // 2
        if rise_chance(middle, size, before, size_before) <= chance:
            high = middle
        else:
            low = middle + 1
    # The largest number that may still be chance is the limit.
    limit = max(least + before / size_before, (low - 1) / size)
    return Figure(measure, hits / size, limit)


def rise_chance(hits: int, size: int, before: int, size_before: int) -> float:
    """An upper bound of the chance of so many hits in a window if it has the same share of them as the baseline.

    Given the hits of both together, those in the window follow the hypergeometric distribution, whose tail Hoeffding's
    bound limits for samples of any size.

    >>> rise_chance(5, 1000, 0, 5000) < 0.001 < rise_chance(2, 1000, 0, 5000)
    True
    """
    together, whole = hits + before, size + size_before
    if not hits or hits * whole <= together * size:
        return 1.0
    by_window = size * _divergence(hits / size, together / whole)
    by_hits = together * _divergence(hits / together, size / whole)
    return math.exp(-max(by_window, by_hits))


def _divergence(found: float, expected: float) -> float:
    """Kullback's and Leibler's divergence of two chances, in nats."""
    hit = found * math.log(found / expected) if found else 0.0
    miss = (1 - found) * math.log((1 - found) / (1 - expected)) if found < 1 else 0.0
    return hit + miss
