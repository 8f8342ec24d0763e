"""Percentiles of latencies: of the last seconds exactly enough to watch, and of any number in little memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

# Each step is 2 % wide: finer than anyone could measure twice.
_STEP = math.log(1.02)
_LEAST_MILLISECONDS = 0.01


class Latencies:
    """Counts latencies in steps of 2 %. Not thread-safe."""

    def __init__(self, parts: Iterable[Latencies] = ()) -> None:
        self._steps: Counter[int] = Counter()
        for part in parts:
            self._steps.update(part._steps)

    def add(self, milliseconds: float) -> None:
        """Counts one."""
        self._steps[int(math.log(max(milliseconds, _LEAST_MILLISECONDS)) // _STEP)] += 1

    def percentile(self, fraction: float) -> float | None:
        """The latency, in milliseconds, that so many were within; None when there are none."""
        rest = math.ceil(self._steps.total() * fraction)
        for step in sorted(self._steps):
            rest -= self._steps[step]
            if rest <= 0:
                return math.exp((step + 0.5) * _STEP)
        return None
