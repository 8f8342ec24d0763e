"""A receiver of OTLP over HTTP that parses requests with the protocol's own messages and keeps what they contain.

with receiving() as received:
    ...  # export to f"http://{received.address}"
    (span,) = received.eventually(lambda: received.named("process records"))
"""

from __future__ import annotations

import gzip
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.http_server import QuietHandler, http_server

T = TypeVar("T")

_SECONDS = 60.0


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it arrived.

    Attributes:
      trace, id, parent: hexadecimal digits; the parent of a root is empty.
      kind: such as CONSUMER.
      links: the traces and ids of linked spans.
      error: the description of its status if that is an error.
      resource: the attributes of the process.
    """

    name: str
    trace: str
    id: str
    parent: str
    kind: str
    attributes: Mapping[str, Any]
    links: frozenset[tuple[str, str]]
    error: str | None
    start: int
    end: int
    state: str
    resource: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        """The trace and the id."""
        return self.trace, self.id


@dataclass
class Received:
    """What a receiver got so far.

    Attributes:
      address: HOST:PORT.
      paths, headers: of all requests.
      metrics: the newest state of each metric, by name, as messages of the protocol.
      resources: the attributes of the processes that sent metrics.
    """

    address: str = ""
    paths: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    spans: list[ReceivedSpan] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    resources: list[Mapping[str, Any]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def named(self, name: str) -> list[ReceivedSpan]:
        """The spans of a name."""
        with self.changed:
            return [one for one in self.spans if one.name == name]

    def eventually(self, found: Callable[[], T], seconds: float = _SECONDS) -> T:
        """Waits until something is found, and returns it."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while not (result := found()):
                rest = deadline - time.monotonic()
                assert rest > 0, f"not in {seconds:g} s; there are {dict(Counter(one.name for one in self.spans))}"
                self.changed.wait(rest)
        return result

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """Takes a request; returns the answer."""
        content = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        with self.changed:
            self.paths.append(path)
            self.headers.append(headers)
            answer = self._traces(content) if path.endswith("/v1/traces") else self._metrics(content)
            self.changed.notify_all()
        return answer

    def _traces(self, content: bytes) -> bytes:
        for group in ExportTraceServiceRequest.FromString(content).resource_spans:
            resource = _values(group.resource.attributes)
            self.spans += [_span(one, resource) for scope in group.scope_spans for one in scope.spans]
        return bytes(ExportTraceServiceResponse().SerializeToString())

    def _metrics(self, content: bytes) -> bytes:
        for group in ExportMetricsServiceRequest.FromString(content).resource_metrics:
            self.resources.append(_values(group.resource.attributes))
            self.metrics.update({one.name: one for scope in group.scope_metrics for one in scope.metrics})
        return bytes(ExportMetricsServiceResponse().SerializeToString())


@contextmanager
def receiving() -> Iterator[Received]:
    """Runs a receiver."""
    received = Received()

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = received.take(self.path, headers, self.body())
            self.send(200, answer, {"Content-Type": "application/x-protobuf"})

    with http_server(Handler) as address:
        received.address = address
        yield received


def _span(span: trace_pb2.Span, resource: Mapping[str, Any]) -> ReceivedSpan:
    return ReceivedSpan(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        _values(span.attributes),
        frozenset((one.trace_id.hex(), one.span_id.hex()) for one in span.links),
        span.status.message if span.status.code == trace_pb2.Status.STATUS_CODE_ERROR else None,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.trace_state,
        resource,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
