"""Histograms of durations that can be added, and the percentiles that can be read from them.

The buckets are those of Prometheus' native histograms with schema 3: the upper limits are powers of the eighth root of
2, so bucket i holds the durations above 2^((i - 1)/8) and up to 2^(i/8) milliseconds. A percentile is therefore off by
at most 4.5 %, whatever the order of magnitude.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

_BUCKETS_A_DOUBLING = 8
# A microsecond and, as a limit, an hour: everything beyond belongs to the first or the last bucket.
_FIRST, _LAST = -80, 175
BUCKETS = frozenset(map(str, range(_FIRST, _LAST + 1)))
"""All buckets, as `bucket_of` names them."""

Durations = Mapping[str, int]
"""The number of durations by bucket; the keys are numbers in decimal, as JSON has them."""


def bucket_of(milliseconds: float) -> str:
    """The bucket of a duration.

    >>> bucket_of(1.0), bucket_of(2.0), bucket_of(0.0)
    ('0', '8', '-80')
    """
    if not milliseconds > 0:
        return str(_FIRST)
    doublings = math.log2(min(milliseconds, 2.0**64))
    return str(min(_LAST, max(_FIRST, math.ceil(doublings * _BUCKETS_A_DOUBLING))))


def added(histograms: Iterable[Durations]) -> dict[str, int]:
    """The sum of several histograms."""
    total: Counter[str] = Counter()
    for one in histograms:
        total.update(one)
    return dict(total)


def percentile(durations: Durations, percent: float) -> float:
    """The duration in milliseconds that so many percent of all durations do not exceed; 0 if there are none.

    >>> percentile({"0": 98, "80": 2}, 50) < 1.0 < 900 < percentile({"0": 98, "80": 2}, 99)
    True
    """
    rank = sum(durations.values()) * percent / 100
    counted = 0
    for bucket in sorted(map(int, durations)):
        counted += durations[str(bucket)]
        if counted and counted >= rank:
            return float(2 ** ((bucket - 0.5) / _BUCKETS_A_DOUBLING))
    return 0.0
