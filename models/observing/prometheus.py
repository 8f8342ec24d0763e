"""The sums of a process for Prometheus: a page in its text format at `http://HOST:PORT/metrics`."""

from __future__ import annotations

import errno
import logging
import socket
import threading
from collections.abc import Iterable
from itertools import accumulate, groupby
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from models.errors import MetricsPortError
from models.observing.instruments import INSTRUMENTS, Instrument
from models.observing.totals import Distribution, Totals

_LOGGER = logging.getLogger(__name__)


class MetricsServer:
    """Serves the sums of a process over HTTP until it is closed.

    Args:
      totals: the sums.
      port: the port to listen on, on all interfaces.

    Raises:
      MetricsPortError: the port is in use, or this process may not listen on it.
    """

    def __init__(self, totals: Totals, port: int) -> None:
        registry = CollectorRegistry()
        registry.register(TotalsCollector(totals))
        self._server: WSGIServer
        self._thread: threading.Thread
        try:
            self._server, self._thread = start_http_server(port, registry=registry)
        except OSError as error:
            raise MetricsPortError(_reason(port, error)) from error
        self.port = int(self._server.server_port)
        _LOGGER.info("metrics for Prometheus: http://%s:%d/metrics", socket.gethostname(), self.port)

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class TotalsCollector(Collector):
    """Hands the sums to the client of Prometheus at each scrape."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def collect(self) -> Iterable[Metric]:
        """A family for each instrument that has a value."""
        snapshot = self._totals.snapshot()
        numbers = sorted(snapshot.numbers.items(), key=lambda one: INSTRUMENTS.index(one[0][0]))
        for instrument, series in groupby(numbers, key=lambda one: one[0][0]):
            family = _family(instrument)
            for (_, labels), value in series:
                family.add_metric(labels, value)
            yield family
        distributions = sorted(snapshot.distributions.items(), key=lambda one: INSTRUMENTS.index(one[0][0]))
        for instrument, found in groupby(distributions, key=lambda one: one[0][0]):
            histogram = HistogramMetricFamily(
                instrument.prometheus_name, instrument.description, labels=instrument.labels
            )
            for (_, labels), distribution in found:
                histogram.add_metric(labels, _buckets(instrument, distribution), distribution.total)
            yield histogram


def _family(instrument: Instrument) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if instrument.kind == "counter" else GaugeMetricFamily
    return kind(instrument.prometheus_name, instrument.description, labels=instrument.labels)


def _buckets(instrument: Instrument, distribution: Distribution) -> list[tuple[str, float]]:
    """The limits and the cumulative counts, as Prometheus has them."""
    limits = [*(str(limit) for limit in instrument.limits), "+Inf"]
    return list(zip(limits, map(float, accumulate(distribution.counts.tolist())), strict=True))


def _reason(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--metrics-port {port} is in use; choose another, or 0 for any free one"
    return f"--metrics-port {port} cannot be opened: {error.strerror}"
