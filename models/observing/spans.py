"""The spans of traced records, by the semantic conventions of OpenTelemetry for messaging.

    send (of whoever sent the record)
      `-- process TOPIC (a record: its fate)
            |-- score TOPIC (the batch; linked to every traced record of it, and they to it)
            |     |-- receive TOPIC (from the source to the scoring)
            |     |-- decode
            |     |-- call MODEL
            |     |     `-- tensorflow.serving.PredictionService/Predict (a call of a server, if there is one)
            |     `-- encode
            `-- send TOPIC (the result, until the broker acknowledged it; named in its headers)

The span of a batch belongs to the trace of its records if they have one trace, as a child of the first traced record.
Otherwise it is the root of a trace of its own, and the links lead there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cached_property

import numpy as np
from opentelemetry import trace as api
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, Tracer

from models.columns.scored import ScoredRecords
from models.observing import tracing
from models.observing.answered import AnsweredBatch
from models.observing.answers import model_labels
from models.observing.sampling import Sampling
from models.observing.trace_context import (
    child_context,
    continued,
    names_parent,
    parent_of,
    propagated,
    sampled_parents,
)
from models.records.batch import Headers, RecordBatch
from models.records.outgoing import OutgoingMessage
from models.text import clean_text

_KINDS: Mapping[tracing.SpanKind, SpanKind] = {"internal": SpanKind.INTERNAL, "client": SpanKind.CLIENT}


class SpanTracing:
    """Traces records whose traces are sampled already, and a share of those without a trace (`tracing.Tracing`).

    Args:
      tracer: opens the spans; it must record every one.
      share: the share of records without a trace context for which a trace begins here, from 0 to 1.
      group: the consumer group.
    """

    def __init__(self, tracer: Tracer, share: float = 0.0, group: str = "") -> None:
        self._tracer = tracer
        self._sampling = Sampling(share)
        self._group = group

    def begin(self, batch: RecordBatch) -> tracing.BatchTrace | None:
        """Opens the spans of a batch; None if none of its records is traced."""
        parents: dict[int, SpanContext | None] = {}
        if batch.headers:
            parents.update(sampled_parents(batch.headers))
        if self._sampling.share:
            parents.update(dict.fromkeys(self._roots(batch)))
        return SpansOfBatch(self._tracer, self._group, batch, parents) if parents else None

    def sending(self, message: OutgoingMessage) -> tuple[OutgoingMessage, tracing.Sending] | None:
        """Opens the span of a message that is about to be sent; None if it is not traced."""
        parent = parent_of(message.headers)
        if parent is None:
            return None
        span = self._tracer.start_span(
            f"send {message.topic}", child_context(parent), SpanKind.PRODUCER, _messaging("send", "send", message.topic)
        )
        return replace(message, headers=continued(message.headers, span.get_span_context())), SpanOfMessage(span)

    def close(self) -> None:
        """Nothing to end: whoever made the tracer ends it."""

    def _roots(self, batch: RecordBatch) -> list[int]:
        """The records with which a trace begins."""
        chosen = self._sampling.chosen(batch.span.topic, batch.span.partition, batch.offsets)
        return [place for place in np.flatnonzero(chosen).tolist() if not names_parent(batch.headers.get(place, ()))]


class SpanOfMessage:
    """The span of a message that is being sent (`tracing.Sending`)."""

    def __init__(self, span: api.Span) -> None:
        self._span = span

    def end(self, error: str | None = None) -> None:
        """Ends the span, unless it has ended."""
        if not self._span.is_recording():
            return
        if error is not None:
            self._span.set_status(Status(StatusCode.ERROR, clean_text(error)))
        self._span.end()


class OpenSpan:
    """A span that is the current one (`tracing.Span`)."""

    def __init__(self, span: api.Span) -> None:
        self._span = span

    def headers(self) -> Mapping[str, str]:
        """The W3C headers that name the span."""
        return propagated(self._span.get_span_context())

    def note(self, name: str, value: tracing.Value) -> None:
        """Sets an attribute."""
        self._span.set_attribute(name, value)


class SpansOfBatch:
    """The spans of a batch (`tracing.BatchTrace`).

    Args:
      tracer: opens the spans.
      group: the consumer group.
      batch: the records.
      parents: the spans that sent the traced records, by place; None for a record with which a trace begins.
    """

    def __init__(
        self, tracer: Tracer, group: str, batch: RecordBatch, parents: Mapping[int, SpanContext | None]
    ) -> None:
        self._tracer = tracer
        self._batch = batch
        self._common = _messaging("process", "process", batch.span.topic) | {
            "messaging.destination.partition.id": str(batch.span.partition),
            "messaging.consumer.group.name": group,
        }
        now = time.time_ns()
        self._start = min(batch.taken or now, now)  # the source's clock may be ahead
        self._records = {place: self._record_span(place, parents[place]) for place in sorted(parents)}
        self._scoring = self._batch_span()
        for one in self._records.values():
            one.add_link(self._scoring.get_span_context())

    @cached_property
    def headers(self) -> Mapping[int, Headers]:
        """The headers of the batch by place; those of traced records name their spans."""
        given = self._batch.headers
        traced = {
            place: continued(given.get(place, ()), span.get_span_context()) for place, span in self._records.items()
        }
        return {**given, **traced}

    def current(self) -> AbstractContextManager[object]:
        """Makes the span of the batch the parent of spans that are opened within the context."""
        return api.use_span(self._scoring, record_exception=False, set_status_on_exception=False)

    @contextmanager
    def span(self, name: str, kind: tracing.SpanKind, attributes: tracing.Attributes) -> Iterator[tracing.Span]:
        """A span below the current one."""
        # The SDK would record the text of an error as it is; one that cannot be encoded would cost all spans that are
        # delivered with it.
        opened = self._tracer.start_as_current_span(
            name, kind=_KINDS[kind], attributes=attributes, record_exception=False, set_status_on_exception=False
        )
        with opened as span:
            try:
                yield OpenSpan(span)
            except Exception as error:
                _note_error(span, type(error).__name__, str(error))
                raise

    def end(self, answered: AnsweredBatch) -> None:
        """Ends the spans, with what became of their records."""
        times = answered.times
        if self._batch.taken:
            receive = _messaging("receive", "receive", self._batch.span.topic)
            self._stage(f"receive {self._batch.span.topic}", self._start, times.decode, SpanKind.CLIENT, receive)
        self._stage("decode", times.decode, times.score)
        self._stage("encode", times.encode, times.end)
        for part in answered.scored:
            for place in answered.decoded.places[part.rows].tolist():
                if place in self._records:
                    _note_answer(self._records[place], part)
        for kind, reasons in (("decode", answered.decoded.errors), ("encode", answered.unencoded)):
            for place in reasons.keys() & self._records.keys():
                _note_error(self._records[place], kind, reasons[place])
        for span in (self._scoring, *self._records.values()):
            span.end(times.end)

    def _record_span(self, place: int, parent: SpanContext | None) -> api.Span:
        attributes = {**self._common, "messaging.kafka.offset": int(self._batch.offsets[place])}
        name = f"process {self._batch.span.topic}"
        return self._tracer.start_span(
            name, child_context(parent), SpanKind.CONSUMER, attributes, start_time=self._start
        )

    def _batch_span(self) -> api.Span:
        contexts = [span.get_span_context() for span in self._records.values()]
        parent = contexts[0] if len({one.trace_id for one in contexts}) == 1 else None
        attributes = {
            **self._common,
            "messaging.operation.name": "score",
            "messaging.batch.message_count": len(self._batch),
        }
        return self._tracer.start_span(
            f"score {self._batch.span.topic}",
            child_context(parent),
            SpanKind.CONSUMER,
            attributes,
            [Link(one) for one in contexts],
            self._start,
        )

    def _stage(
        self,
        name: str,
        start: int,
        end: int,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: tracing.Attributes | None = None,
    ) -> None:
        """A span of a part of the work that is over."""
        parent = child_context(self._scoring.get_span_context())
        self._tracer.start_span(name, parent, kind, attributes, start_time=start).end(end)


def _messaging(operation: str, name: str, topic: str) -> dict[str, str | int]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.type": operation,
        "messaging.operation.name": name,
        "messaging.destination.name": topic,
    }


def _note_answer(span: api.Span, part: ScoredRecords) -> None:
    call = part.call
    name, version = model_labels(call)
    span.set_attributes({"beam_serving.data_type": part.data_type})
    if call.model is not None:
        span.set_attributes({"beam_serving.model.name": name, "beam_serving.model.version": version})
    if call.route is not None:
        span.set_attributes({"beam_serving.arm": call.route.arm, "beam_serving.role": call.route.role})
    if call.error is not None:
        _note_error(span, call.error_kind or "other", call.error)


def _note_error(span: api.Span, kind: str, reason: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, clean_text(reason)))
