"""Where metrics and traces go over OTLP (HTTP with protobuf), and how a process delivers them.

The environment variables of OpenTelemetry apply wherever an option does not: `OTEL_EXPORTER_OTLP_HEADERS`,
certificates, timeouts and compression of the exporters, `OTEL_BSP_*` for the queue of spans,
`OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`. `OTEL_TRACES_EXPORTER=none` and
`OTEL_METRICS_EXPORTER=none` switch one of the two off, and `OTEL_SDK_DISABLED=true` both.

An endpoint that is away costs no more than what it misses: the queue of spans is bounded, metrics are cumulative, and
the libraries' complaints, which are one for each attempt, are logged once in ten minutes.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from models.observing.otlp_metrics import PUSH_SECONDS, MetricPusher
from models.observing.spans import SpanTracing
from models.observing.totals import Totals

# The loggers of OpenTelemetry that log every failed attempt, every dropped span or every malformed header.
TALKATIVE = (
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.trace.span",
)
_QUIET_SECONDS = 600.0
_CLOSE_SECONDS = 3.0


def is_on(signal: str) -> bool:
    """Whether the environment leaves a signal, traces or metrics, switched on."""
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return not disabled and os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip().lower() != "none"


def push_metrics(totals: Totals, endpoint: str, service: str) -> MetricPusher:
    """Starts to push the sums of this process.

    Args:
      totals: the sums.
      endpoint: the base address of the receiver, such as http://localhost:4318.
      service: the name of the service, unless the environment names it.
    """
    be_quiet()
    exporter = OTLPMetricExporter(endpoint=f"{endpoint.rstrip('/')}/v1/metrics")
    return MetricPusher(totals, exporter, resource_of(service), _push_seconds())


def _push_seconds() -> float:
    """The pause between two deliveries of metrics, which the environment gives in milliseconds."""
    given = os.environ.get("OTEL_METRIC_EXPORT_INTERVAL", "")
    return int(given) / 1000 if given.isascii() and given.isdigit() and int(given) else PUSH_SECONDS


class OtlpTracing(SpanTracing):
    """Traces records, and delivers their spans from a bounded queue.

    Args:
      endpoint: the base address of the receiver, such as http://localhost:4318.
      service: the name of the service, unless the environment names it; also the name of the consumer group.
      share: the share of records without a trace context for which a trace begins here, from 0 to 1.
      exporter: delivers the spans; by default one for the endpoint.
    """

    def __init__(self, endpoint: str, service: str, share: float, exporter: SpanExporter | None = None) -> None:
        be_quiet()
        self._exporter = exporter or OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        # Only records that are traced get spans at all, so the sampler has nothing to decide.
        self._provider = TracerProvider(ALWAYS_ON, resource_of(service), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        super().__init__(self._provider.get_tracer("beam_serving"), share, service)

    def close(self) -> None:
        """Delivers the spans that are left, but waits no longer than three seconds."""
        # The provider itself would wait for half a minute.
        closing = threading.Thread(target=self._provider.shutdown, name="otlp-traces-close", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)
        if closing.is_alive():
            self._exporter.shutdown()


def resource_of(service: str) -> Resource:
    """What this process is, by the semantic conventions; the environment has the last word."""
    named = {SERVICE_NAME: str(service), SERVICE_INSTANCE_ID: f"{socket.gethostname()}:{os.getpid()}"}
    return Resource.create(named).merge(OTELResourceDetector().detect())


class OnceInAWhile(logging.Filter):
    """Drops a message that the same logger has logged, whatever its arguments, in the last ten minutes."""

    def __init__(self) -> None:
        super().__init__()
        self._logged: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log a record."""
        now, text = time.monotonic(), str(record.msg)
        if now < self._logged.get(text, 0.0):
            return False
        self._logged[text] = now + _QUIET_SECONDS
        return True


def be_quiet() -> None:
    """Has the talkative loggers of OpenTelemetry log each kind of message once in a while. Idempotent."""
    for name in TALKATIVE:
        logger = logging.getLogger(name)
        if not any(isinstance(one, OnceInAWhile) for one in logger.filters):
            logger.addFilter(OnceInAWhile())
