"""The spans of batches that are scored for real, with models without an engine, as OpenTelemetry's SDK has them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from models.errors import ScoringError
from models.observing.observation import Observation
from models.observing.spans import SpanTracing
from models.observing.totals import Totals
from models.observing.trace_context import parent_of
from models.records.batch import Headers
from models.records.outgoing import OutgoingMessage
from models.routing.plan import implicit_plan
from models.scorers.base import Scores
from models.serving.assembly import ScoredBatch, ScoringSettings, score_batch
from models.serving.registry import ModelRegistry
from models.tensors import Array
from tests.models.fakes import X_SCHEMA, FakeScorer, batch_of, fake_model, published
from tests.models.serving.graphs.graph_serving import RECORD, GraphServing, record

SETTINGS = ScoringSettings({"records": X_SCHEMA}, "results", "letters")
GOOD = X_SCHEMA.codec.encode({"x": 1.0, "dataType": "m"})
OTHER = X_SCHEMA.codec.encode({"x": 1.0, "dataType": "unknown"})


def sent_by(trace: int, span: int = 1, flags: str = "01", state: bytes | None = None) -> Headers:
    """The headers of a record in a trace."""
    headers: Headers = (("user", b"7"), ("traceparent", f"00-{trace:032x}-{span:016x}-{flags}".encode()))
    return headers if state is None else (*headers, ("tracestate", state))


class Traced:
    """A registry with one model, whose batches are traced."""

    def __init__(self, share: float = 0.0, scorer: Any = None) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = SpanTracing(provider.get_tracer("test"), share, "group")
        self.observation = Observation(Totals(), tracing=self.tracing)
        self.registry = ModelRegistry("worker")
        version = published(3, "wine", data_type="m")
        self.registry.update({"m": implicit_plan((version,))})
        self.registry.loaded(version, fake_model(version, scorer))

    def score(self, values: list[bytes | None], headers: list[Headers], taken: int = 0) -> ScoredBatch:
        batch = replace(batch_of(values, headers=headers or None), taken=taken)
        return score_batch(batch, self.registry, SETTINGS, observer=self.observation)

    def named(self, name: str) -> list[ReadableSpan]:
        """The finished spans of a name, in the order of their offsets."""
        found = [span for span in self.exporter.get_finished_spans() if span.name == name]
        return sorted(found, key=lambda span: int(str((span.attributes or {}).get("messaging.kafka.offset", 0))))

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span


def ids(span: ReadableSpan) -> tuple[int, int]:
    """The trace and the id of a span."""
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def parent(span: ReadableSpan) -> tuple[int, int] | None:
    return None if span.parent is None else (span.parent.trace_id, span.parent.span_id)


def links(span: ReadableSpan) -> set[tuple[int, int]]:
    return {(link.context.trace_id, link.context.span_id) for link in span.links}


def result_headers(scored: ScoredBatch) -> list[Headers]:
    return [message.headers for message in scored.outgoing if message.topic == "results"]


def test_a_record_continues_its_trace_through_the_model_to_its_result() -> None:
    traced = Traced()
    scored = traced.score([GOOD], [sent_by(7, 5, state=b"shop=42")], taken=1)
    process, batch, call = traced.one("process records"), traced.one("score records"), traced.one("call wine")
    assert parent(process) == (7, 5)
    assert parent(batch) == ids(process)
    assert parent(call) == ids(batch)
    assert {parent(traced.one(name)) for name in ("receive records", "decode", "encode")} == {ids(batch)}
    (headers,) = result_headers(scored)
    named = parent_of(headers)
    assert headers[0] == ("user", b"7") and named is not None
    assert (named.trace_id, named.span_id) == ids(process)
    assert dict(headers)["tracestate"] == b"shop=42"


def test_spans_follow_the_conventions_for_messaging() -> None:
    traced = Traced()
    traced.score([GOOD, GOOD], [(), sent_by(7)], taken=1)
    process, batch = traced.one("process records"), traced.one("score records")
    common = {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": "records",
        "messaging.destination.partition.id": "3",
        "messaging.consumer.group.name": "group",
    }
    assert process.kind == batch.kind == SpanKind.CONSUMER
    assert dict(batch.attributes or {}) == {
        **common,
        "messaging.operation.name": "score",
        "messaging.batch.message_count": 2,
    }
    assert dict(process.attributes or {}) == {
        **common,
        "messaging.operation.name": "process",
        "messaging.kafka.offset": 2,
        "beam_serving.data_type": "m",
        "beam_serving.model.name": "wine",
        "beam_serving.model.version": "3",
    }
    assert dict(traced.one("call wine").attributes or {})["beam_serving.call.rows"] == 2
    received = traced.one("receive records")
    assert (received.kind, received.start_time) == (SpanKind.CLIENT, 1)
    assert received.end_time == traced.one("decode").start_time


def test_a_batch_of_one_trace_belongs_to_it() -> None:
    traced = Traced()
    traced.score([GOOD] * 3, [sent_by(7, 1), (), sent_by(7, 2)])
    first, second = traced.named("process records")
    batch = traced.one("score records")
    assert [parent(first), parent(second), parent(batch)] == [(7, 1), (7, 2), ids(first)]
    assert links(batch) == {ids(first), ids(second)}
    assert links(first) == links(second) == {ids(batch)}


def test_a_batch_of_several_traces_has_a_trace_of_its_own_with_links_to_them() -> None:
    traced = Traced()
    scored = traced.score([GOOD] * 2, [sent_by(7), sent_by(8)])
    first, second = traced.named("process records")
    batch = traced.one("score records")
    assert parent(batch) is None and ids(batch)[0] not in (7, 8)
    assert links(batch) == {ids(first), ids(second)}
    assert links(first) == links(second) == {ids(batch)}
    named = [parent_of(headers) for headers in result_headers(scored)]
    assert [(one.trace_id, one.span_id) for one in named if one] == [ids(first), ids(second)]


@pytest.mark.parametrize("headers", [(), sent_by(7, flags="00"), (("traceparent", b"garbage"),)], ids=str)
def test_a_record_that_is_not_traced_keeps_its_headers_and_costs_no_span(headers: Headers) -> None:
    traced = Traced()
    assert result_headers(traced.score([GOOD], [headers])) == [headers]
    assert traced.exporter.get_finished_spans() == ()
    traced.score([GOOD] * 2, [headers, sent_by(8)])
    assert len(traced.named("process records")) == 1


def test_traces_begin_with_a_share_of_the_records_without_one() -> None:
    traced = Traced(share=0.25)
    untouched = [sent_by(7, flags="00"), (("traceparent", b"garbage"),)] * 50
    scored = traced.score([GOOD] * 2_100, [*untouched, *[()] * 2_000])
    roots = traced.named("process records")
    # Six standard deviations of a binomial distribution.
    assert abs(len(roots) - 500) < 6 * (2_000 * 0.25 * 0.75) ** 0.5
    assert {parent(root) for root in roots} == {None} and len({ids(root)[0] for root in roots}) == len(roots)
    headers = result_headers(scored)
    assert headers[:100] == untouched
    assert sum(parent_of(one) is not None for one in headers) == len(roots)


def test_every_record_is_traced_with_a_share_of_one() -> None:
    traced = Traced(share=1.0)
    traced.score([GOOD] * 10, [])
    assert len(traced.named("process records")) == 10


class Failing(FakeScorer):
    """A model that fails."""

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        raise ScoringError("no luck today")


def test_a_span_says_why_its_record_has_no_answer() -> None:
    traced = Traced(scorer=Failing(3))
    traced.score([GOOD, b"garbage", OTHER], [sent_by(7), sent_by(8), sent_by(9)])
    failed, malformed, nobody = traced.named("process records")
    assert "no luck today" in (failed.status.description or "")
    assert (malformed.attributes or {})["error.type"] == "decode" and malformed.status.description
    assert (nobody.attributes or {})["error.type"] == "no_model"
    failures = (failed, malformed, nobody, traced.one("call wine"))
    assert all(span.status.status_code == StatusCode.ERROR for span in failures)


class Surrogate(FakeScorer):
    """A model whose error has a text that UTF-8 cannot encode."""

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        raise ScoringError("bad\ud800")


def test_a_reason_that_cannot_be_encoded_spoils_no_other_span() -> None:
    traced = Traced(scorer=Surrogate(3))
    traced.score([GOOD], [sent_by(7)])
    assert encode_spans(traced.exporter.get_finished_spans()).SerializeToString()
    assert traced.one("call wine").status.description == "bad\N{REPLACEMENT CHARACTER}"


class Instrumented(FakeScorer):
    """A model whose code uses OpenTelemetry's interface itself."""

    seen: tuple[int, int] = 0, 0

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        context = get_current_span().get_span_context()
        self.seen = context.trace_id, context.span_id
        return super().score(inputs)


def test_the_call_is_the_current_span_of_code_in_a_model() -> None:
    scorer = Instrumented(3)
    traced = Traced(scorer=scorer)
    traced.score([GOOD], [sent_by(7)])
    assert scorer.seen == ids(traced.one("call wine"))
    assert not get_current_span().get_span_context().is_valid


def test_a_clock_that_is_ahead_gives_no_span_that_ends_before_it_starts() -> None:
    traced = Traced()
    traced.score([GOOD], [sent_by(7)], taken=2**62)
    assert all((span.start_time or 0) <= (span.end_time or 0) for span in traced.exporter.get_finished_spans())


GRAPH = """
steps:
  - {name: a, model: a, version: 1}
  - {name: b, model: b, version: 1}
  - {name: fastest, race: [{model: c, version: 1}, {model: d, version: 1}], deadline: 20}
  - {name: mean, combine: mean, of: [a, b, fastest]}
output: mean
"""


def test_the_threads_of_a_graph_and_of_its_races_continue_the_trace() -> None:
    threads: dict[str, int] = {}

    def model(name: str) -> Any:
        def function(x: Array) -> Mapping[str, Array]:
            threads[name] = threading.get_ident()
            return {"y": x}

        return function

    traced = Traced()
    serving = GraphServing(GRAPH, **{name: model(name) for name in "abcd"})
    try:
        batch_of_one = batch_of([RECORD.codec.encode(record(1.0))], headers=[sent_by(7)])
        settings = ScoringSettings({"records": RECORD}, "results", "letters")
        score_batch(batch_of_one, serving.registry, settings, observer=traced.observation)
    finally:
        serving.registry.close()
    batch = traced.one("score records")
    assert {parent(traced.one(f"call {name}")) for name in "ab"} == {ids(batch)}
    raced = [span for name in "cd" for span in traced.named(f"call {name}")]
    assert raced and {parent(span) for span in raced} == {ids(batch)}
    assert threading.get_ident() not in [threads[name] for name in "cd" if name in threads]


def test_the_result_names_the_span_of_its_sending() -> None:
    traced = Traced()
    message = OutgoingMessage("results", b"k", b"v", sent_by(7, 5))
    sending = traced.tracing.sending(message)
    assert sending is not None
    sent, span = sending
    assert traced.exporter.get_finished_spans() == ()
    span.end()
    found = traced.one("send results")
    named = parent_of(sent.headers)
    assert parent(found) == (7, 5) and found.kind == SpanKind.PRODUCER and named is not None
    assert (named.trace_id, named.span_id) == ids(found)
    assert (sent.key, sent.value, sent.headers[0]) == (b"k", b"v", ("user", b"7"))
    assert traced.tracing.sending(replace(message, headers=sent_by(7, flags="00"))) is None


def test_a_message_that_is_not_acknowledged_has_a_span_with_the_reason() -> None:
    traced = Traced()
    sending = traced.tracing.sending(OutgoingMessage("results", b"k", b"v", sent_by(7)))
    assert sending is not None
    sending[1].end("too large")
    sending[1].end()
    assert traced.one("send results").status.description == "too large"
