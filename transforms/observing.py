"""The observation that the DoFns of a pipeline share in a worker process, and its sums as Beam's metrics."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import accumulate

from apache_beam.metrics import Metrics

from models.observing.instruments import CONSUMER_LAG, INSTRUMENTS, Instrument
from models.observing.observation import Observation
from models.observing.observer import Labels
from models.observing.settings import ObservationSettings
from models.observing.totals import Distribution, Snapshot, Totals
from models.runner_facts import BeamMetricsForm
from transforms.process_shared import ProcessShared

NAMESPACE = "beam_serving"
_SECONDS = 1.0
_MILLIONTHS = {"s": "microseconds", "1": "millionths"}
READING = (CONSUMER_LAG,)
SCORING = tuple(one for one in INSTRUMENTS if one not in READING)


@dataclass(frozen=True)
class Observing:
    """How the DoFns of a pipeline are observed.

    Attributes:
      settings: who is told what they measure.
      form: how much of it Beam's own metrics contain.
      shared: the observation of a worker process.
    """

    settings: ObservationSettings = field(default_factory=ObservationSettings)
    form: BeamMetricsForm = "none"
    shared: ProcessShared[ProcessObservation] = field(default_factory=ProcessShared)

    def enter(self) -> ProcessObservation:
        """The process's observation; called from a DoFn's `setup`, and followed by one `leave`."""
        return self.shared.enter(lambda: ProcessObservation(self.settings.open(), self.form))

    def leave(self) -> None:
        """Called from a DoFn's `teardown`; the last call closes the observation."""
        self.shared.leave()


class ProcessObservation:
    """The observation of a worker process.

    Attributes:
      observation: takes the measurements.
      reading, scoring: publish as Beam's metrics what the steps that read and that score measure. A step publishes only
        its own gauges, because runners keep the last value for each step.
    """

    def __init__(self, observation: Observation, form: BeamMetricsForm = "none") -> None:
        self.observation = observation
        self.reading = BeamMetrics(observation.totals, form, READING)
        self.scoring = BeamMetrics(observation.totals, form, SCORING)

    def close(self) -> None:
        """Closes the observation."""
        self.observation.close()


class BeamMetrics:
    """Publishes sums as Beam's metrics, at most once a second for a process. Thread-safe.

    Beam's metrics have no labels, so labels and their values are part of the name, behind that of Prometheus:
    `results_total__model__wine__version__3`. Their values are whole numbers: sums of seconds become microseconds, and
    shares millionths. A histogram becomes two counters, `_count` and `_sum`, and with the form "buckets" one for each
    bucket, cumulative as those of Prometheus, with its limit as the label `le`.

    Args:
      totals: the sums.
      form: what to publish: nothing, sums only, or buckets as well.
      instruments: the instruments to publish.
      clock: returns a number of seconds that never decreases.
    """

    def __init__(
        self,
        totals: Totals,
        form: BeamMetricsForm,
        instruments: Collection[Instrument] = INSTRUMENTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._totals = totals
        self._form = form
        self._instruments = frozenset(instruments)
        self._clock = clock
        self._lock = threading.Lock()
        self._due = 0.0
        self._before = Snapshot({}, {})

    def publish(self) -> None:
        """Publishes what was measured since the last time; called within a bundle."""
        if self._form == "none" or self._clock() < self._due or not self._lock.acquire(blocking=False):
            return
        try:
            self._due = self._clock() + _SECONDS
            now, before = self._totals.snapshot(), self._before
            for (instrument, labels), value in now.numbers.items():
                if instrument in self._instruments:
                    self._publish_number(instrument, labels, value, before.numbers.get((instrument, labels), 0.0))
            for (instrument, labels), distribution in now.distributions.items():
                if instrument in self._instruments:
                    earlier = before.distributions.get((instrument, labels))
                    new = distribution if earlier is None else distribution.minus(earlier)
                    self._publish_distribution(instrument, labels, new)
            self._before = now
        finally:
            self._lock.release()

    def _publish_number(self, instrument: Instrument, labels: Labels, value: float, before: float) -> None:
        name = beam_name(instrument, "", labels)
        if instrument.kind == "gauge":
            Metrics.gauge(NAMESPACE, name).set(_whole(instrument, value))
        elif value != before:
            Metrics.counter(NAMESPACE, name).inc(round(value - before))

    def _publish_distribution(self, instrument: Instrument, labels: Labels, new: Distribution) -> None:
        if not new.count:
            return
        Metrics.counter(NAMESPACE, beam_name(instrument, "_count", labels)).inc(new.count)
        Metrics.counter(NAMESPACE, beam_name(instrument, "_sum", labels)).inc(_whole(instrument, new.total))
        if self._form == "buckets":
            for limit, count in zip((*instrument.limits, math.inf), accumulate(new.counts.tolist()), strict=True):
                if count:
                    name = beam_name(instrument, "_bucket", labels, f"__le__{limit:g}")
                    Metrics.counter(NAMESPACE, name).inc(count)


def beam_name(instrument: Instrument, part: str, labels: Labels, more: str = "") -> str:
    """The name of a metric of Beam.

    >>> from models.observing.instruments import RECORDS, STAGE_DURATION
    >>> beam_name(RECORDS, "", ("clicks",))
    'records_total__topic__clicks'
    >>> beam_name(STAGE_DURATION, "_sum", ("score", "wine", "3"))
    'stage_duration_microseconds_sum__stage__score__model__wine__version__3'
    """
    base = instrument.prometheus_name.removeprefix(f"{NAMESPACE}_")
    if instrument.unit in _MILLIONTHS and part not in ("_count", "_bucket"):
        base = f"{base.removesuffix('_seconds')}_{_MILLIONTHS[instrument.unit]}"
    named = "".join(f"__{name}__{value}" for name, value in zip(instrument.labels, labels, strict=True))
    return f"{base}{part}{named}{more}"


def _whole(instrument: Instrument, value: float) -> int:
    return round(value * 1_000_000) if instrument.unit in _MILLIONTHS else round(value)
