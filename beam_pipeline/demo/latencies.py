"""Percentiles of latencies, for any number of them in little memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

# Each step is 2 % wide, which is finer than the variation between two measurements.
_STEP = math.log(1.02)
_LEAST_MILLISECONDS = 0.01


class Latencies:
    """Counts latencies in steps of 2 %. Not thread-safe."""

    def __init__(self, parts: Iterable[Latencies] = ()) -> None:
        self._steps: Counter[int] = Counter()
        for part in parts:
            self._steps.update(part._steps)

    def add(self, milliseconds: float) -> None:
        """Counts a latency."""
        self._steps[int(math.log(max(milliseconds, _LEAST_MILLISECONDS)) // _STEP)] += 1

    def percentile(self, fraction: float) -> float | None:
        """The latency in milliseconds that this fraction (0 to 1) did not exceed; None without latencies."""
        rest = math.ceil(self._steps.total() * fraction)
        for step in sorted(self._steps):
            rest -= self._steps[step]
            if rest <= 0:
                return math.exp((step + 0.5) * _STEP)
        return None
