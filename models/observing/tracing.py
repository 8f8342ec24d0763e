"""The seam between scoring and traces, which needs no tracing library.

`score_batch` asks a `Tracing` for the trace of a batch before it decodes it. While the records are scored, the trace is
in a context variable, so that whoever calls a model or a server can open a span without having been passed anything.
Threads that score parts of a batch must run in a copy of the context (`contextvars.copy_context`); work in any other
thread is not traced.

Nearly all batches have no trace. For them, a span costs the look at the variable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Literal, Protocol

from models.observing.answered import AnsweredBatch
from models.records.batch import Headers, RecordBatch
from models.records.outgoing import OutgoingMessage

SpanKind = Literal["internal", "client"]
Value = str | int | float | bool
Attributes = Mapping[str, Value]


class Span(Protocol):
    """A span that is open."""

    def headers(self) -> Mapping[str, str]:
        """The W3C headers with which a server that is called within the span continues the trace."""

    def note(self, name: str, value: Value) -> None:
        """Sets an attribute."""


class BatchTrace(Protocol):
    """The spans of a batch with traced records."""

    @property
    def headers(self) -> Mapping[int, Headers]:
        """The headers of the batch by place; those of traced records name their spans as parents of what follows."""

    def current(self) -> AbstractContextManager[object]:
        """Makes the span of the batch the parent of spans that are opened within the context."""

    def span(self, name: str, kind: SpanKind, attributes: Attributes) -> AbstractContextManager[Span]:
        """A span around what happens within the context; an error that leaves it is recorded."""

    def end(self, answered: AnsweredBatch) -> None:
        """Ends the spans, with what became of their records."""


class Sending(Protocol):
    """The span of a message that is being sent."""

    def end(self, error: str | None = None) -> None:
        """Ends the span: the message was acknowledged, unless there is an error."""


class Tracing(Protocol):
    """Opens the spans of batches and of messages. Thread-safe; no record can make it raise."""

    def begin(self, batch: RecordBatch) -> BatchTrace | None:
        """Opens the spans of a batch; None if none of its records is traced."""

    def sending(self, message: OutgoingMessage) -> tuple[OutgoingMessage, Sending] | None:
        """Opens the span of a message, and names it in the message's headers; None if the message is not traced."""

    def close(self) -> None:
        """Passes on what is left, within a few seconds."""


class NoTracing:
    """Traces nothing; records and results keep their headers."""

    def begin(self, batch: RecordBatch) -> BatchTrace | None:
        """None."""
        return None

    def sending(self, message: OutgoingMessage) -> tuple[OutgoingMessage, Sending] | None:
        """None."""
        return None

    def close(self) -> None:
        """Nothing to end."""


NO_TRACING = NoTracing()


class _NoSpan:
    def headers(self) -> Mapping[str, str]:
        return {}

    def note(self, name: str, value: Value) -> None:
        """Notes nothing."""


_NOTHING: AbstractContextManager[Span] = nullcontext(_NoSpan())
_TRACE: ContextVar[BatchTrace | None] = ContextVar("trace of the batch", default=None)


@contextmanager
def within(trace: BatchTrace | None) -> Iterator[None]:
    """Makes a trace the one to which spans within the context belong."""
    if trace is None:
        yield
        return
    token = _TRACE.set(trace)
    try:
        with trace.current():
            yield
    finally:
        _TRACE.reset(token)


def span(name: str, kind: SpanKind, attributes: Attributes) -> AbstractContextManager[Span]:
    """A span of the trace in whose context this is called; without one, a span that does nothing."""
    trace = _TRACE.get()
    return _NOTHING if trace is None else trace.span(name, kind, attributes)
