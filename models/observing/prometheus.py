"""The sums of a process for Prometheus: a page in its text format at `http://HOST:PORT/metrics`."""

from __future__ import annotations

import errno
import logging
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection, HTTPException
from itertools import accumulate, groupby
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Info, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from models.errors import MetricsPortError
from models.observing.instruments import INSTRUMENTS, Instrument
from models.observing.totals import Distribution, Totals

_LOGGER = logging.getLogger(__name__)

_PROCESS = "beam_serving_process"
_SECONDS = 2.0
_MOST_BYTES = 100_000


class MetricsPage:
    """The page of one process, on a port that several processes of a deployment on a machine may be given.

    The first of them has the page. The others log a warning, try again now and then, and take the port over once it is
    free: records matter more than metrics.

    Args:
      totals: the sums.
      port: the port to listen on, on all interfaces; 0 for any free one.
      deployment: the name of the deployment.
      pause: the seconds between two attempts.

    Raises:
      MetricsPortError: something else uses the port, or this process may not listen on it.
    """

    def __init__(self, totals: Totals, port: int, deployment: str, pause: float = 10.0) -> None:
        self._open = partial(MetricsServer, totals, port, deployment)
        self._pause = pause
        self._closing = threading.Event()
        self._server: MetricsServer | None = None
        self._thread = threading.Thread(target=self._take_over, name="metrics-port", daemon=True)
        try:
            self._server = self._open()
        except MetricsPortError:
            if deployment_at(port) != deployment:
                raise
            _LOGGER.warning(
                "--metrics-port %d is in use by another process of %r: this process serves records without metrics "
                "until the port is free; 0 gives each process a port of its own",
                port,
                deployment,
            )
            self._thread.start()

    @property
    def port(self) -> int | None:
        """The port of the page; None while another process has it."""
        return None if self._server is None else self._server.port

    def close(self) -> None:
        """Stops listening."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._server is not None:
            self._server.close()

    def _take_over(self) -> None:
        while self._server is None and not self._closing.wait(self._pause):
            with suppress(MetricsPortError):
                self._server = self._open()


def deployment_at(port: int) -> str | None:
    """The deployment whose process serves its metrics at a port of this machine; None if no such process does."""
    connection = HTTPConnection("127.0.0.1", port, timeout=_SECONDS)  # urllib would ask a proxy
    try:
        connection.request("GET", f"/metrics?name[]={_PROCESS}_info")
        page = connection.getresponse().read(_MOST_BYTES).decode()
        samples = [one for family in text_string_to_metric_families(page) for one in family.samples]
        return next((one.labels["deployment"] for one in samples if one.name == f"{_PROCESS}_info"), None)
    except (OSError, HTTPException, ValueError, KeyError):  # something else is at the port
        return None
    finally:
        connection.close()


class MetricsServer:
    """Serves the sums of a process over HTTP until it is closed.

    Args:
      totals: the sums.
      port: the port to listen on, on all interfaces.
      deployment: the name of the deployment, which the page contains.

    Raises:
      MetricsPortError: the port is in use, or this process may not listen on it.
    """

    def __init__(self, totals: Totals, port: int, deployment: str) -> None:
        registry = CollectorRegistry()
        registry.register(TotalsCollector(totals))
        Info(_PROCESS, "The process, with its deployment.", registry=registry).info({"deployment": deployment})
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
