"""A batch with a traced record, in whose trace a test calls a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from models.observing.spans import SpanTracing
from models.observing.tracing import within
from tests.models.fakes import batch_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class TracedBatch:
    """The trace of a record that was sent in the trace `TRACE`."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        headers = (("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01".encode()), ("tracestate", b"shop=42"))
        self._trace = SpanTracing(provider.get_tracer("test")).begin(batch_of([b""], headers=[headers]))
        assert self._trace is not None

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """The context in which the models of the batch are called."""
        with within(self._trace):
            yield

    def spans(self) -> list[ReadableSpan]:
        """The spans of all calls so far."""
        spans = list(self._exporter.get_finished_spans())
        assert all(span.kind == SpanKind.CLIENT for span in spans)
        return spans

    def check_told(self, headers: Mapping[str, str], span: ReadableSpan) -> None:
        """Checks that a server was told to continue the trace below a span."""
        assert span.context is not None
        assert headers["traceparent"] == f"00-{TRACE}-{span.context.span_id:016x}-01"
        assert headers["tracestate"] == "shop=42"
