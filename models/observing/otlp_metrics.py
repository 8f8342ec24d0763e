"""Metrics over OTLP, for a collector of OpenTelemetry or anything else that takes its protocol.

The sums of a process are pushed as they are: they are cumulative, as OTLP's metrics may be. The SDK's own instruments
are not used, because they take each observation by itself (`models.observing.totals`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from itertools import groupby
from typing import cast

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from models.observing.instruments import INSTRUMENTS, Instrument
from models.observing.observer import Labels
from models.observing.totals import Distribution, Snapshot, Totals

PUSH_SECONDS = 10.0

_CLOSE_SECONDS = 3.0
# An observation's smallest and largest value are optional in OTLP, and the sums do not contain them.
_UNKNOWN = cast(float, None)


class MetricPusher:
    """Pushes the sums on a thread of its own, and once more when it is closed.

    Sums that cannot be delivered are forgotten, since later ones contain them.

    Args:
      totals: the sums.
      exporter: delivers them; it is closed with the pusher.
      resource: what they are about.
      seconds: the pause between two deliveries.
    """

    def __init__(
        self, totals: Totals, exporter: MetricExporter, resource: Resource, seconds: float = PUSH_SECONDS
    ) -> None:
        self._totals = totals
        self._exporter = exporter
        self._resource = resource
        self._seconds = seconds
        self._start = time.time_ns()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="otlp-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Pushes the last sums, but waits no longer than three seconds."""
        self._closed.set()
        self._thread.join(_CLOSE_SECONDS)
        self._exporter.shutdown()

    def _run(self) -> None:
        while not self._closed.wait(self._seconds):
            self._push()
        self._push()

    def _push(self) -> None:
        data = metrics_data(self._totals.snapshot(), self._resource, self._start, time.time_ns())
        if data is not None:
            self._exporter.export(data)


def metrics_data(snapshot: Snapshot, resource: Resource, start: int, now: int) -> MetricsData | None:
    """The sums as OpenTelemetry's metrics; None if nothing was measured yet.

    Args:
      snapshot: the sums.
      resource: what they are about.
      start: when the sums were zero, in nanoseconds since 1970-01-01 UTC.
      now: the time of the snapshot, likewise.
    """
    metrics = [*_numbers(snapshot, start, now), *_histograms(snapshot, start, now)]
    if not metrics:
        return None
    scope = ScopeMetrics(InstrumentationScope("beam_serving"), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _numbers(snapshot: Snapshot, start: int, now: int) -> Iterable[Metric]:
    ordered = sorted(snapshot.numbers.items(), key=lambda one: INSTRUMENTS.index(one[0][0]))
    for instrument, series in groupby(ordered, key=lambda one: one[0][0]):
        points = [NumberDataPoint(_attributes(instrument, labels), start, now, value) for (_, labels), value in series]
        counts = instrument.kind == "counter"
        data = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True) if counts else Gauge(points)
        yield Metric(instrument.name, instrument.description, instrument.unit, data)


def _histograms(snapshot: Snapshot, start: int, now: int) -> Iterable[Metric]:
    ordered = sorted(snapshot.distributions.items(), key=lambda one: INSTRUMENTS.index(one[0][0]))
    for instrument, series in groupby(ordered, key=lambda one: one[0][0]):
        points = [_histogram_point(instrument, labels, found, start, now) for (_, labels), found in series]
        data = Histogram(points, AggregationTemporality.CUMULATIVE)
        yield Metric(instrument.name, instrument.description, instrument.unit, data)


def _histogram_point(
    instrument: Instrument, labels: Labels, found: Distribution, start: int, now: int
) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes=_attributes(instrument, labels),
        start_time_unix_nano=start,
        time_unix_nano=now,
        count=found.count,
        sum=found.total,
        bucket_counts=found.counts.tolist(),
        explicit_bounds=instrument.limits,
        min=_UNKNOWN,
        max=_UNKNOWN,
    )


def _attributes(instrument: Instrument, labels: Labels) -> dict[str, str]:
    return dict(zip(instrument.labels, labels, strict=True))
