"""What the charts show: a ring of one-second buckets with counts by version and with durations.

Its memory is bounded whatever arrives: by the number of seconds, of versions, and of durations in each second.
"""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from beam_pipeline.dashboard.settings import WINDOW_SECONDS
from beam_pipeline.dashboard.versions import ShownVersion, ShownVersions

MOST_DURATIONS = 200
# A message from further ahead comes from a clock that is wrong.
_AHEAD_SECONDS = 2


@dataclass(frozen=True)
class Answer:
    """What the charts need of one decoded result.

    Attributes:
      at: the time of the result's message, in milliseconds since 1970-01-01 UTC.
      model, version: the version that answered; None without one.
      failed: whether the result is an error.
      call: the duration of the call of its batch, in milliseconds.
    """

    at: int
    model: str | None
    version: int | None
    failed: bool
    call: float


class DurationSample:
    """A sample of durations in which each has the same chance to be kept, of at most `MOST_DURATIONS`."""

    def __init__(self) -> None:
        self.seen = 0
        self._kept: list[float] = []

    def add(self, duration: float) -> None:
        """Adds a duration."""
        self.seen += 1
        if len(self._kept) < MOST_DURATIONS:
            self._kept.append(duration)
        elif (place := random.randrange(self.seen)) < MOST_DURATIONS:
            self._kept[place] = duration

    @property
    def kept(self) -> Sequence[float]:
        """The durations in the sample."""
        return self._kept

    def percentile(self, percent: int) -> float | None:
        """A percentile of the sample; None if it is empty."""
        return percentile_of(self._kept, percent)


def percentile_of(durations: Sequence[float], percent: int) -> float | None:
    """The smallest duration that is not exceeded by this many percent of all; None if there are none.

    >>> percentile_of([4.0, 1.0, 3.0, 2.0], 50), percentile_of([4.0, 1.0], 99), percentile_of([], 50)
    (2.0, 4.0, None)
    """
    if not durations:
        return None
    ordered = sorted(durations)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


@dataclass
class _Second:
    count: float = 0.0
    # The weights of the sampled results, by the number of their version.
    sampled: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    failed: float = 0.0
    latencies: DurationSample = field(default_factory=DurationSample)
    calls: DurationSample = field(default_factory=DurationSample)

    def rates(self) -> dict[str, float]:
        """The records of the second by the number of the version, from the shares in the sample."""
        total = sum(self.sampled.values())
        if not total:
            return {}
        return {str(number): round(self.count * seen / total, 1) for number, seen in self.sampled.items()}


class History:
    """The buckets of the last seconds. Thread-safe.

    Args:
      seconds: how many seconds are kept.
      clock: returns the seconds since 1970-01-01 UTC.
    """

    def __init__(self, seconds: int = WINDOW_SECONDS, clock: Callable[[], float] = time.time) -> None:
        self._kept = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._seconds: dict[int, _Second] = {}
        self._versions = ShownVersions(self._numbers_in_use)
        self.results = 0.0

    def count(self, at: int, number: float = 1.0) -> None:
        """Counts results whose messages have this time, in milliseconds since 1970-01-01 UTC."""
        with self._lock:
            self.results += number
            second = self._at(at)
            if second is not None:
                second.count += number

    def count_between(self, begin: int, end: int, number: int) -> None:
        """Counts results that were written at unknown times between two times, evenly."""
        first, last = begin // 1000, max(begin, end) // 1000
        # Only the end is still in the ring if the results took longer than that to arrive.
        seconds = range(max(first, last - self._kept), last + 1)
        for second in seconds:
            self.count(second * 1000, number / len(seconds))

    def see(self, answer: Answer, weight: float = 1.0) -> ShownVersion:
        """Adds a result of the sample, which `count` has counted, and returns its version in the charts.

        Args:
          answer: the result.
          weight: for how many results it stands.
        """
        with self._lock:
            version = self._versions.of(answer.model, answer.version)
            second = self._at(answer.at)
            if second is not None:
                second.sampled[version.number] += weight
                second.failed += weight * answer.failed
                second.calls.add(answer.call)
            return version

    def see_latency(self, at: int, milliseconds: float) -> None:
        """Adds the time from a record to its result, whose message has the time `at`."""
        with self._lock:
            second = self._at(at)
            if second is not None:
                second.latencies.add(milliseconds)

    def versions(self) -> list[dict[str, Any]]:
        """The versions that the buckets name, as JSON."""
        with self._lock:
            used = self._numbers_in_use()
            return [asdict(one) for one in self._versions.all() if one.number in used]

    def seconds(self, since: int = 0) -> list[dict[str, Any]]:
        """The whole seconds from `since` on (seconds since 1970-01-01 UTC), as JSON: a row for each, the oldest first.

        A second without results has the rate 0, as long as it is between others or before now.
        """
        with self._lock:
            self._forget()
            end = int(self._clock()) - 1
            begin = max(since, min(self._seconds, default=end))
            return [_row(at, self._seconds.get(at)) for at in range(begin, end)]

    def totals(self, seconds: int = 10) -> dict[str, Any]:
        """The figures over the last whole seconds: records a second, percentiles in milliseconds, share of errors."""
        with self._lock:
            end = int(self._clock()) - 1
            last = [one for at in range(end - seconds, end) if (one := self._seconds.get(at)) is not None]
        sampled = sum(sum(one.sampled.values()) for one in last)
        latencies = [duration for one in last for duration in one.latencies.kept]
        shares: defaultdict[int, float] = defaultdict(float)
        for one in last:
            for number, weight in one.sampled.items():
                shares[number] += weight
        return {
            "rate": round(sum(one.count for one in last) / seconds, 1),
            "p50": percentile_of(latencies, 50),
            "p99": percentile_of(latencies, 99),
            "errors": sum(one.failed for one in last) / sampled if sampled else None,
            "shares": {str(number): weight / sampled for number, weight in shares.items()},
            "results": round(self.results),
        }

    def _at(self, milliseconds: int) -> _Second | None:
        """The bucket of a time; None if it is too old. A time in the future counts as now."""
        now = int(self._clock())
        at = milliseconds // 1000
        if at <= now - self._kept:
            return None
        at = at if at <= now + _AHEAD_SECONDS else now
        if at not in self._seconds:
            self._forget()
            self._seconds[at] = _Second()
        return self._seconds[at]

    def _forget(self) -> None:
        oldest = int(self._clock()) - self._kept
        for at in [at for at in self._seconds if at <= oldest]:
            del self._seconds[at]

    def _numbers_in_use(self) -> set[int]:
        self._forget()
        return {number for second in self._seconds.values() for number in second.sampled}


def _row(at: int, second: _Second | None) -> dict[str, Any]:
    if second is None:
        return {"at": at, "rate": 0, "rates": {}}
    return {
        "at": at,
        "rate": round(second.count, 1),
        "rates": second.rates(),
        "p50": second.latencies.percentile(50),
        "p99": second.latencies.percentile(99),
        "call": second.calls.percentile(50),
    }
