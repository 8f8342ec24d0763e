"""W3C trace context in the headers of records and results.

A header that cannot be read, or whose trace is not sampled, is left alone: whoever reads the result gets it as it was.
If a header is repeated, the last one counts, as for Kafka's own clients.
"""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from models.records.batch import Headers

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"

_PROPAGATOR = TraceContextTextMapPropagator()
# 00-TRACE-SPAN-FLAGS, in hexadecimal digits: the lowest bit of the flags says that the trace is sampled.
_LENGTH, _FLAGS, _ODD = 55, 54, b"13579bdf"
# Longer ones are ignored: the specification asks nobody to pass on more, and the propagator would log each.
_LONGEST = 512


def sampled_parents(headers: Mapping[int, Headers]) -> dict[int, SpanContext]:
    """The spans that sent the records, by place; only of those whose traces are sampled.

    Args:
      headers: the headers of records that have any, by place.
    """
    likely = [
        place for place, one in headers.items() for name, value in one if name == TRACEPARENT and _may_be_sampled(value)
    ]
    parents = {place: parent_of(headers[place]) for place in likely}
    return {place: parent for place, parent in parents.items() if parent is not None}


def parent_of(headers: Headers) -> SpanContext | None:
    """The span that sent a message; None if the headers name none, or if its trace is not sampled."""
    given = _last(headers, TRACEPARENT)
    if not _may_be_sampled(given):  # nearly all, and the propagator takes ten times as long
        return None
    carrier = {TRACEPARENT: _text(given), TRACESTATE: _text(_last(headers, TRACESTATE))}
    found = get_current_span(_PROPAGATOR.extract(carrier, Context())).get_span_context()
    return found if found.is_valid and found.trace_flags.sampled else None


def names_parent(headers: Headers) -> bool:
    """Whether a record has a trace context, even one that cannot be read."""
    return any(name == TRACEPARENT for name, _ in headers)


def continued(headers: Headers, span: SpanContext) -> Headers:
    """The headers with a span as the parent of what follows, instead of the one that they name.

    >>> from opentelemetry.trace import TraceFlags
    >>> span = SpanContext(trace_id=1, span_id=2, is_remote=False, trace_flags=TraceFlags(1))
    >>> continued((("traceparent", b"old"), ("user", b"7")), span)
    (('user', b'7'), ('traceparent', b'00-00000000000000000000000000000001-0000000000000002-01'))
    """
    kept = (one for one in headers if one[0] not in (TRACEPARENT, TRACESTATE))
    return (*kept, *((name, value.encode()) for name, value in propagated(span).items()))


def propagated(span: SpanContext) -> dict[str, str]:
    """The headers with which a call continues the trace of a span."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, child_context(span))
    return carrier


def child_context(span: SpanContext | None) -> Context:
    """The context in which a span is opened as a child of another one, or without a parent."""
    return Context() if span is None else set_span_in_context(NonRecordingSpan(span), Context())


def _may_be_sampled(value: bytes | None) -> bool:
    return value is not None and len(value) >= _LENGTH and value[_FLAGS] in _ODD


def _last(headers: Headers, wanted: str) -> bytes | None:
    for name, value in reversed(headers):
        if name == wanted:
            return value
    return None


def _text(value: bytes | None) -> str:
    return "" if value is None or len(value) > _LONGEST or not value.isascii() else value.decode()
