"""The shift of an output's distribution, measured by the population stability index (PSI).

PSI = sum over bins of (q - p) * ln(q / p), where p and q are the shares of the live model's and of the candidate's
values in a bin. The bins lie between the deciles of the live model's values. A value that is so frequent that two
deciles are equal has a bin of its own, and so has NaN. Half a value is added to each bin, because an empty one would
make the sum infinite. By convention a PSI below 0.1 is no shift, and one above 0.2 to 0.25 is a large one.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from models.tensors import Array

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_PSEUDO_COUNT = 0.5
_MOST_CATEGORIES = 9


def shift_of(live: Array, candidate: Array) -> float:
    """The PSI of the values of an output.

    Args:
      live: the live model's values, [values] or [values, components]: numbers or text. The PSI of several components
        is that of the component that has shifted most.
      candidate: the candidate's values. If the number of components differs, all values are compared together.
    """
    if not (_is_number(live) and _is_number(candidate)):
        return category_shift(live, candidate)
    if live.ndim != 2 or candidate.ndim != 2 or live.shape[1] != candidate.shape[1]:
        return number_shift(live.ravel(), candidate.ravel())
    return max((number_shift(live[:, place], candidate[:, place]) for place in range(live.shape[1])), default=0.0)


def number_shift(live: Array, candidate: Array) -> float:
    """The PSI of numbers [values], in bins between the deciles of the live ones; 0 if either has no values.

    >>> number_shift(np.arange(100), np.arange(100))
    0.0
    >>> round(number_shift(np.arange(100), np.arange(100) + 10), 2)
    0.35
    """
    numbers, others = live.astype(np.float64), candidate.astype(np.float64)
    known = numbers[~np.isnan(numbers)]
    edges = _edges(known) if len(known) else np.zeros(0)
    return _stability(_counts(edges, numbers), _counts(edges, others))


def category_shift(live: Array, candidate: Array) -> float:
    """The PSI of text and other unordered values, in bins for the nine most frequent live ones and for all others."""
    found, others = Counter(map(str, live.ravel().tolist())), Counter(map(str, candidate.ravel().tolist()))
    frequent = [name for name, _ in found.most_common(_MOST_CATEGORIES)]
    return _stability(_by_category(found, frequent), _by_category(others, frequent))


def _is_number(array: Array) -> bool:
    return array.dtype.kind in "fiub"


def _edges(known: Floats) -> Floats:
    """The upper bounds of all bins except the last one."""
    ordered = np.sort(known)
    deciles = ordered[[(tenth * len(ordered) + 9) // 10 - 1 for tenth in range(1, 10)]]
    repeated = deciles[1:][deciles[1:] == deciles[:-1]]
    return np.unique(np.concatenate([deciles, np.nextafter(repeated, -np.inf)]))


def _counts(edges: Floats, numbers: Floats) -> Counts:
    """The number of values in each bin; the last bin counts NaN."""
    missing = np.isnan(numbers)
    places = np.searchsorted(edges, numbers[~missing], side="left")
    return np.append(np.bincount(places, minlength=len(edges) + 1), np.count_nonzero(missing))


def _by_category(found: Counter[str], frequent: list[str]) -> Counts:
    counts = [found[name] for name in frequent]
    return np.array([*counts, found.total() - sum(counts)], np.int64)


def _stability(live: Counts, candidate: Counts) -> float:
    if not live.sum() or not candidate.sum():
        return 0.0
    used = (live > 0) | (candidate > 0)
    before, after = _shares(live[used]), _shares(candidate[used])
    return float(np.sum((after - before) * np.log(after / before)))


def _shares(counts: Counts) -> Floats:
    shares: Floats = (counts + _PSEUDO_COUNT) / (counts.sum() + _PSEUDO_COUNT * len(counts))
    return shares
