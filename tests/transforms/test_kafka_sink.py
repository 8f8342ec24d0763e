from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from models.kafka.client import KafkaSettings
from models.observing.instruments import DEAD_LETTERS, EVENTS_DROPPED, Instrument
from models.observing.observation import Observation
from models.observing.spans import SpanTracing
from models.observing.totals import Totals
from models.observing.trace_context import parent_of
from models.records.batch import Headers, OffsetSpan
from models.records.outgoing import OutgoingBatch, OutgoingMessage, OutgoingRun
from models.records.registry import RegistrySettings
from models.records.registry_framing import RegistryFraming
from models.results.dead_letter import DeadLetterTopic, dead_letters, decode_dead_letter
from runners.local.schema_registry import LocalSchemaRegistry
from tests.conftest import MakeTopic
from tests.end_to_end.kafka_tail import KafkaTail, headers_of
from tests.models.fakes import batch_of
from tests.models.kafka.test_client import java_partition
from transforms.kafka_sink import ProduceMessages, SinkError
from transforms.offset_commits import GroupOffsets

MEGABYTE = 1024 * 1024


def span(start: int, end: int) -> OffsetSpan:
    return OffsetSpan("records", "id", 3, 0, start, end)


@pytest.fixture
def topics(make_topic: MakeTopic, topic_names: Callable[[str], str]) -> tuple[str, str]:
    """The topics of results and dead letters."""
    return make_topic(topic_names("results"), partitions=4), make_topic(topic_names("dead-letters"))


@pytest.fixture
def sink(kafka: KafkaSettings, topics: tuple[str, str]) -> Iterator[ProduceMessages]:
    made = ProduceMessages(kafka, DeadLetterTopic(topics[1]))
    made.setup()
    yield made
    made.teardown()


def write(sink: ProduceMessages, *batches: OutgoingBatch) -> list[Any]:
    """Writes one bundle; returns the elements that it reports as acknowledged."""
    sink.start_bundle()
    for batch in batches:
        sink.process(batch)
    return [output.value for output in sink.finish_bundle()]


def read(kafka: KafkaSettings, topic: str) -> list[Any]:
    tail = KafkaTail(kafka, topic)
    tail.to_the_end()
    tail.close()
    return tail.messages


def test_all_batches_of_a_bundle_are_acknowledged_together(
    kafka: KafkaSettings, topics: tuple[str, str], sink: ProduceMessages
) -> None:
    batches = [
        OutgoingBatch(
            span(start, start + 10), messages=[OutgoingMessage(topics[0], b"k", str(n).encode()) for n in range(10)]
        )
        for start in (0, 10, 20)
    ]
    acknowledged = write(sink, *batches)
    assert acknowledged == [batch.span for batch in batches]
    assert [message.value() for message in read(kafka, topics[0])] == [str(n).encode() for n in range(10)] * 3


def test_nothing_is_acknowledged_before_the_bundle_ends(topics: tuple[str, str], sink: ProduceMessages) -> None:
    sink.start_bundle()
    outputs: object = sink.process(OutgoingBatch(span(0, 1), messages=[OutgoingMessage(topics[0], b"k", b"v")]))  # type: ignore[func-returns-value]
    assert outputs is None


def test_a_batch_without_messages_is_acknowledged_and_a_heartbeat_needs_not_to_be(sink: ProduceMessages) -> None:
    assert write(sink, OutgoingBatch(span(5, 9), []), OutgoingBatch(span(9, 9), [])) == [span(5, 9)]
    assert write(sink) == []


def test_keys_headers_and_empty_values_are_written_as_they_are(
    kafka: KafkaSettings, topics: tuple[str, str], sink: ProduceMessages
) -> None:
    headers = (("a", b"1"), ("a", None), ("ü", b""))
    write(
        sink,
        OutgoingBatch(
            span(0, 2), messages=[OutgoingMessage(topics[0], None, None, headers), OutgoingMessage(topics[0], b"", b"")]
        ),
    )
    first, second = sorted(read(kafka, topics[0]), key=lambda message: message.key() is not None)
    assert (first.key(), first.value(), headers_of(first)) == (None, None, headers)
    assert (second.key(), second.value(), headers_of(second)) == (b"", b"", ())


def test_dead_letters_are_framed_as_their_topic_says_and_results_are_left_alone(
    kafka: KafkaSettings, topics: tuple[str, str], schema_registry: LocalSchemaRegistry
) -> None:
    letters = DeadLetterTopic(topics[1], RegistryFraming(RegistrySettings(schema_registry.url)))
    batch = batch_of([b"broken"], [b"key"], start=40)
    too_large = OutgoingMessage(topics[0], b"k", b"v" * 2 * MEGABYTE, offset=41)
    sink = ProduceMessages(kafka, letters)
    sink.setup()
    result = OutgoingRun(topics[0], [b"k"], [b"result-bytes"], [40])
    runs = [result, dead_letters(topics[1], batch, {0: "why"})]
    write(sink, OutgoingBatch(batch.span, runs, [too_large]))
    sink.teardown()
    assert [message.value() for message in read(kafka, topics[0])] == [b"result-bytes"]
    deserialize = AvroDeserializer(SchemaRegistryClient({"url": schema_registry.url}))
    context = SerializationContext(topics[1], MessageField.VALUE)
    found = [deserialize(message.value(), context) for message in read(kafka, topics[1])]
    assert sorted((one["offset"], one["value"]) for one in found) == [(40, b"broken"), (41, None)]


def test_a_key_goes_to_the_partition_that_java_would_choose(
    kafka: KafkaSettings, topics: tuple[str, str], sink: ProduceMessages
) -> None:
    keys = [str(number).encode() for number in range(20)]
    write(sink, OutgoingBatch(span(0, 1), messages=[OutgoingMessage(topics[0], key, b"v") for key in keys]))
    chosen = {message.key(): message.partition() for message in read(kafka, topics[0])}
    assert chosen == {key: java_partition(key, 4) for key in keys}
    assert set(chosen.values()) == set(range(4))


def test_a_message_that_is_not_acknowledged_fails_the_bundle_and_the_next_one_works(
    kafka: KafkaSettings, topics: tuple[str, str], sink: ProduceMessages
) -> None:
    good = OutgoingMessage(topics[0], b"k", b"v", offset=1)
    bad = OutgoingMessage("no topic has such a name!", b"k", b"v", offset=2)
    with pytest.raises(SinkError, match="'no topic has such a name!': a message was not acknowledged"):
        write(sink, OutgoingBatch(span(0, 10), messages=[good, bad, good]))
    assert write(sink, OutgoingBatch(span(0, 10), messages=[good])) == [span(0, 10)]


def test_a_message_larger_than_its_topic_takes_becomes_a_dead_letter_and_the_others_are_written(
    kafka: KafkaSettings, topics: tuple[str, str], sink: ProduceMessages
) -> None:
    large = OutgoingMessage(topics[0], b"k", b"x" * 2 * MEGABYTE, (("h", b"1"),), offset=17)
    small = OutgoingMessage(topics[0], b"k", b"v", offset=18)
    batch = OutgoingBatch(span(17, 19), messages=[large, small])
    assert write(sink, batch) == [batch.span]
    assert [message.value() for message in read(kafka, topics[0])] == [b"v"]
    (message,) = read(kafka, topics[1])
    letter = decode_dead_letter(message.value())
    assert message.key() == b"records-3-17"
    assert (letter.topic, letter.partition, letter.offset, letter.value) == ("records", 3, 17, None)
    assert f"has {2 * MEGABYTE + 1} bytes of key and value" in letter.reason


@pytest.mark.parametrize(
    ("key", "value"), [(b"k", b"x" * 2 * MEGABYTE), (b"x" * 2 * MEGABYTE, b"v"), (b"x" * 2 * MEGABYTE, None)]
)
def test_a_too_large_message_that_answers_for_no_record_is_dropped_and_counted(
    kafka: KafkaSettings,
    topics: tuple[str, str],
    sink: ProduceMessages,
    caplog: pytest.LogCaptureFixture,
    key: bytes,
    value: bytes | None,
) -> None:
    event = OutgoingMessage(topics[0], key, value)
    result = OutgoingMessage(topics[0], b"k", b"result", offset=0)
    assert write(sink, OutgoingBatch(span(0, 1), messages=[event, result])) == [span(0, 1)]
    assert [message.value() for message in read(kafka, topics[0])] == [b"result"]
    assert read(kafka, topics[1]) == []
    assert (counts(sink, EVENTS_DROPPED), counts(sink, DEAD_LETTERS)) == (1, 0)
    assert "is dropped" in caplog.text


def test_a_result_with_a_key_that_is_too_large_becomes_a_dead_letter(
    kafka: KafkaSettings, topics: tuple[str, str], sink: ProduceMessages
) -> None:
    write(sink, OutgoingBatch(span(5, 6), messages=[OutgoingMessage(topics[0], b"x" * 2 * MEGABYTE, None, offset=5)]))
    (message,) = read(kafka, topics[1])
    assert decode_dead_letter(message.value()).offset == 5
    assert (counts(sink, EVENTS_DROPPED), counts(sink, DEAD_LETTERS)) == (0, 1)


def test_a_dead_letter_that_its_topic_does_not_take_at_all_fails_the_bundle(
    kafka: KafkaSettings, make_topic: MakeTopic, topic_names: Callable[[str], str]
) -> None:
    tiny = make_topic(topic_names("tiny"), max_message_bytes=50)
    sink = ProduceMessages(kafka, DeadLetterTopic(tiny))
    sink.setup()
    with pytest.raises(SinkError, match="not acknowledged"):
        write(sink, OutgoingBatch(span(0, 1), messages=[OutgoingMessage(tiny, b"k", b"x" * MEGABYTE, offset=0)]))


def counts(sink: ProduceMessages, instrument: Instrument) -> float:
    """What the sink has counted with an instrument, for all labels."""
    observed = sink._observing.enter()
    sink._observing.leave()
    numbers = observed.observation.totals.snapshot().numbers
    return sum(value for (one, _), value in numbers.items() if one is instrument)


def test_a_full_queue_is_waited_for(kafka: KafkaSettings, topics: tuple[str, str]) -> None:
    narrow = KafkaSettings(kafka.bootstrap_servers, {"producer.queue.buffering.max.messages": "5"})
    sink = ProduceMessages(narrow, DeadLetterTopic(topics[1]))
    sink.setup()
    messages = [OutgoingMessage(topics[0], None, str(number).encode()) for number in range(100)]
    assert write(sink, OutgoingBatch(span(0, 100), messages=messages)) == [span(0, 100)]
    assert {message.value() for message in read(kafka, topics[0])} == {message.value for message in messages}


def test_a_run_is_written_as_its_messages_are(kafka: KafkaSettings, sink: ProduceMessages, topics: list[str]) -> None:
    run = OutgoingRun(topics[0], [b"a", None, b"c"], [b"1", b"2", b"3"], [0, 1, 2], {1: (("h", b"x"),)})
    plain = OutgoingRun(topics[0], [b"d"], [b"4"], [3])
    assert write(sink, OutgoingBatch(span(0, 4), [run, plain])) == [span(0, 4)]
    found = [(message.key(), message.value(), headers_of(message)) for message in read(kafka, topics[0])]
    assert sorted(found, key=lambda one: one[1] or b"") == [
        (b"a", b"1", ()),
        (None, b"2", (("h", b"x"),)),
        (b"c", b"3", ()),
        (b"d", b"4", ()),
    ]


def test_of_a_run_only_what_is_too_large_becomes_a_dead_letter(
    kafka: KafkaSettings, sink: ProduceMessages, topics: list[str]
) -> None:
    run = OutgoingRun(topics[0], [b"k"] * 3, [b"1", b"x" * 2 * MEGABYTE, b"3"], [17, 18, 19])
    assert write(sink, OutgoingBatch(span(17, 20), [run])) == [span(17, 20)]
    assert sorted(message.value() or b"" for message in read(kafka, topics[0])) == [b"1", b"3"]
    (letter,) = read(kafka, topics[1])
    assert decode_dead_letter(letter.value() or b"").offset == 18


def test_what_is_sent_for_a_traced_record_names_the_span_of_its_sending(
    kafka: KafkaSettings, sink: ProduceMessages, topics: tuple[str, str]
) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    sink._observer = Observation(Totals(), tracing=SpanTracing(provider.get_tracer("test")))
    sampled: Headers = (("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),)
    unsampled: Headers = (("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"),)
    values = [b"1", b"2", b"x" * 2 * MEGABYTE, b"4"]
    headers = {0: sampled, 1: unsampled, 2: sampled}
    write(sink, OutgoingBatch(span(0, 4), [OutgoingRun(topics[0], [b"k"] * 4, values, [0, 1, 2, 3], headers)]))
    found = {message.value(): headers_of(message) for message in read(kafka, topics[0])}
    assert (found[b"2"], found[b"4"]) == (unsampled, ())
    refused, sent = sorted(spans.get_finished_spans(), key=lambda one: one.status.status_code != StatusCode.ERROR)
    parent = parent_of(sampled)
    assert parent is not None
    assert [(one.parent.trace_id, one.parent.span_id) for one in (sent, refused) if one.parent] == [
        (parent.trace_id, parent.span_id)
    ] * 2
    named = parent_of(found[b"1"])
    assert named is not None and sent.context is not None and named.span_id == sent.context.span_id
    assert "more than that topic takes" in (refused.status.description or "")
    assert decode_dead_letter(read(kafka, topics[1])[0].value() or b"").offset == 2


def committed(kafka: KafkaSettings, group: str, topic: str) -> int:
    consumer = kafka.consumer(group)
    (where,) = consumer.committed([TopicPartition(topic, 3)], timeout=10)
    consumer.close()
    return int(where.offset)


def test_a_sink_with_a_group_commits_what_is_acknowledged_and_gives_nothing_on(
    kafka: KafkaSettings, topics: tuple[str, str], make_topic: MakeTopic
) -> None:
    group = f"group-{topics[0]}"
    records = make_topic(f"{topics[0]}-records", partitions=4)
    sink = ProduceMessages(kafka, DeadLetterTopic(topics[1]), GroupOffsets(kafka, group))
    sink.setup()

    def of(start: int, end: int) -> OffsetSpan:
        return replace(span(start, end), topic=records)

    done = OutgoingBatch(of(0, 1), messages=[OutgoingMessage(topics[0], b"k", b"1")])
    assert write(sink, done, OutgoingBatch(of(1, 1))) == []
    failing = OutgoingBatch(of(1, 2), messages=[OutgoingMessage("not a topic", b"k", b"2")])
    with pytest.raises(SinkError):
        write(sink, failing)
    sink.teardown()
    assert committed(kafka, group, records) == 1
