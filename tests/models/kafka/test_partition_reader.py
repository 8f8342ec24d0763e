from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import KafkaError

from models.errors import KafkaUnreachableError, OffsetGapError, OptionsError
from models.kafka.client import KafkaSettings
from models.kafka.partition_reader import (
    UNREADABLE_HEADERS,
    Opening,
    Partition,
    PartitionReader,
    ReadSettings,
    TopicRecreatedError,
)
from models.kafka.start_at import StartAt
from models.kafka.topic_identities import TopicIdentities
from models.records.batch import OffsetSpan, RecordBatch
from tests.models.conftest import SECONDS, Kafka, eventually

MEGABYTE = 1024 * 1024


def write_with_header(servers: str, topic: str, name: bytes) -> None:
    """Writes one message with librdkafka itself, because its Python client accepts only header names that are text."""
    folder = f"{Path(confluent_kafka.__file__).parent}.libs"
    lib = ctypes.CDLL(str(next(Path(folder).glob("librdkafka*"))))
    lib.rd_kafka_conf_new.restype = lib.rd_kafka_new.restype = ctypes.c_void_p
    error, size = ctypes.create_string_buffer(512), ctypes.c_size_t(512)
    conf = ctypes.c_void_p(lib.rd_kafka_conf_new())
    lib.rd_kafka_conf_set(conf, b"bootstrap.servers", servers.encode(), error, size)
    producer = ctypes.c_void_p(lib.rd_kafka_new(0, conf, error, size))
    # rd_kafka_vtype_t: 1 topic, 4 value, 9 header, 7 flags (2: copy), 0 end.
    value, header = (ctypes.c_char_p(b"value"), ctypes.c_size_t(5)), (name, b"1", ctypes.c_ssize_t(1))
    assert lib.rd_kafka_producev(producer, 1, topic.encode(), 4, *value, 9, *header, 7, 2, 0) == 0
    assert lib.rd_kafka_flush(producer, 60_000) == 0
    lib.rd_kafka_destroy(producer)


@pytest.fixture
def reader(kafka: Kafka) -> Iterator[Callable[..., PartitionReader]]:
    """Creates readers of a topic's first partition, and closes them."""
    made: list[PartitionReader] = []

    def make(topic: str, from_beginning: bool = False, **more: Any) -> PartitionReader:
        settings = ReadSettings(**{"kafka": kafka.settings, "group": f"group-of-{topic}", **more})
        identity = TopicIdentities(kafka.admin).of(topic)
        made.append(PartitionReader(settings, Partition(topic, identity, 0, from_beginning)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def read(reader: PartitionReader, position: int, count: int) -> list[RecordBatch]:
    """The batches with the next `count` records, which must cover the offsets without gaps."""
    batches: list[RecordBatch] = []
    origin = position

    def enough() -> bool:
        nonlocal position
        batch = reader.take(position, origin)
        assert batch.span.start == position
        assert batch.span.origin == origin
        assert all(batch.span.start <= offset < batch.span.end for offset in batch.offsets)
        position = batch.span.end
        if len(batch):
            batches.append(batch)
        return sum(map(len, batches)) >= count

    eventually(enough)
    return batches


def values(batches: list[RecordBatch]) -> list[bytes | None]:
    return [value for batch in batches for value in batch.values.to_pylist()]


def numbers(first: int, last: int) -> list[bytes]:
    return [str(number).encode() for number in range(first, last)]


def test_a_header_name_that_is_not_utf_8_stops_nothing(kafka: Kafka, reader: Callable[..., PartitionReader]) -> None:
    topic = kafka.topic()
    write_with_header(kafka.settings.bootstrap_servers, topic, b"\xff\xfe")
    write_with_header(kafka.settings.bootstrap_servers, topic, b"name")
    batches = read(reader(topic), 0, 2)
    assert values(batches) == [b"value"] * 2
    headers = [batch.headers[place] for batch in batches for place in range(len(batch))]
    assert headers == [((UNREADABLE_HEADERS, None),), (("name", b"1"),)]
    assert RecordBatch.from_bytes(batches[0].to_bytes()) == batches[0]


def test_a_header_name_that_is_not_utf_8_stops_nothing_after_many_good_ones_either(
    kafka: Kafka, reader: Callable[..., PartitionReader]
) -> None:
    topic = kafka.topic()
    # The interpreter specializes a call that it makes often, and then overlooks what confluent-kafka does wrong.
    for _ in range(100):
        write_with_header(kafka.settings.bootstrap_servers, topic, b"name")
    write_with_header(kafka.settings.bootstrap_servers, topic, b"\xff\xfe")
    batches = read(reader(topic), 0, 101)
    headers = [batch.headers[place] for batch in batches for place in range(len(batch))]
    assert headers == [(("name", b"1"),)] * 100 + [((UNREADABLE_HEADERS, None),)]


# --- Where reading begins.


def test_starts_are_parsed() -> None:
    for kind in ("earliest", "latest", "committed"):
        assert StartAt.parse(kind).kind == kind
    assert StartAt.parse("1700000000000") == StartAt("timestamp", 1_700_000_000_000)
    for moment in ("2023-11-14T22:13:20Z", "2023-11-14T22:13:20", "2023-11-14T23:13:20+01:00"):
        assert StartAt.parse(moment) == StartAt("timestamp", 1_700_000_000_000)
    assert StartAt.parse("1970-01-01") == StartAt("timestamp", 0)


@pytest.mark.parametrize("text", ["", "yesterday", "-1", "1.5", "٣", "9" * 19, "9" * 5000, "2023-13-01"])
def test_an_invalid_start_is_rejected(text: str) -> None:
    with pytest.raises(OptionsError, match="is not one of earliest, latest, committed"):
        StartAt.parse(text)


def test_a_moment_before_1970_is_the_beginning() -> None:
    # Kafka takes -1 for the end of the topic.
    assert StartAt.parse("1969-12-31T23:59:59.999Z") == StartAt("timestamp", 0)


def test_reading_starts_according_to_the_settings(kafka: Kafka, reader: Callable[..., PartitionReader]) -> None:
    topic = kafka.topic(retention_ms=-1)
    for number in range(5):
        kafka.write(topic, numbers(number, number + 1), timestamp=1000 * (number + 1))
    expected = {
        StartAt("earliest"): 0,
        StartAt("latest"): 5,
        StartAt("committed"): 0,
        StartAt("timestamp", 0): 0,
        StartAt("timestamp", 3000): 2,
        StartAt("timestamp", 3001): 3,
        StartAt("timestamp", 5001): 5,
    }
    assert {start: reader(topic, start=start).opening() for start in expected} == {
        start: Opening(offset) for start, offset in expected.items()
    }


def test_reading_begins_at_the_groups_committed_offset(kafka: Kafka, reader: Callable[..., PartitionReader]) -> None:
    topic = kafka.topic()
    kafka.write(topic, numbers(0, 5))
    identity = TopicIdentities(kafka.admin).of(topic)
    kafka.commit(f"group-of-{topic}", topic, 3, identity)
    one = reader(topic)
    assert one.committed() == (3, identity)
    assert one.opening() == Opening(3)
    (batch,) = read(one, 3, 2)
    assert (batch.values.to_pylist(), batch.committed) == ([b"3", b"4"], 3)
    assert reader(topic, group="another").opening() == Opening(0)
    assert reader(topic, group="another").committed() is None


def test_a_partition_that_appeared_is_read_from_its_beginning(
    kafka: Kafka, reader: Callable[..., PartitionReader]
) -> None:
    topic = kafka.topic()
    kafka.write(topic, numbers(0, 5))
    assert reader(topic, from_beginning=True, start=StartAt("latest")).opening() == Opening(0)


def test_an_unreachable_broker_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.kafka.partition_reader._QUERY_SECONDS", 0.2)
    one = PartitionReader(ReadSettings(KafkaSettings("127.0.0.1:1"), "g"), Partition("t", "", 0))
    with pytest.raises(KafkaUnreachableError, match=r"topic 't': Kafka at 127\.0\.0\.1:1"):
        one.opening()
    batch = one.take(7, 7)
    assert (len(batch), batch.span) == (0, OffsetSpan("t", "", 0, 7, 7, 7))
    one.close()


# --- Reading.


def test_records_come_as_they_were_written(kafka: Kafka, reader: Callable[..., PartitionReader]) -> None:
    topic = kafka.topic()
    producer = kafka.settings.producer()
    headers: list[tuple[str, bytes | None]] = [("ä", b"1"), ("none", None), ("ä", b"")]
    producer.produce(topic, b"value", b"key", headers=headers, timestamp=1_700_000_000_000)
    producer.produce(topic, None, b"")
    producer.produce(topic, b"", None)
    assert producer.flush(SECONDS) == 0
    one = reader(topic)
    batches = read(one, 0, 3)
    assert values(batches)[0] == b"value"
    assert not any(values(batches)[1:])
    columns = [batch for batch in batches for _ in batch.offsets]
    assert columns[0].headers[0] == tuple(headers)
    assert columns[0].timestamps[0] == 1_700_000_000_000
    assert [key for batch in batches for key in batch.keys.to_pylist()] == [b"key", b"", None]
    assert [offset for batch in batches for offset in batch.offsets.tolist()] == [0, 1, 2]
    assert all(batch.span.topic_id == TopicIdentities(kafka.admin).of(topic) for batch in batches)
    for batch in batches:
        assert RecordBatch.from_bytes(batch.to_bytes()) == batch


def test_a_batch_holds_up_to_max_records(kafka: Kafka, reader: Callable[..., PartitionReader]) -> None:
    topic = kafka.topic()
    kafka.write(topic, numbers(0, 100))
    batches = read(reader(topic, max_records=7), 0, 100)
    assert values(batches) == numbers(0, 100)
    assert max(map(len, batches)) <= 7


@pytest.mark.parametrize("in_keys", [False, True])
def test_a_batch_holds_up_to_max_bytes_and_the_rest_follows_in_order(
    kafka: Kafka, reader: Callable[..., PartitionReader], in_keys: bool
) -> None:
    topic = kafka.topic()
    sizes = [10, 90, 100, 101, 5000, 1, 1, 99, 50, 50, 50]
    producer = kafka.settings.producer()
    for size in sizes:
        producer.produce(topic, b"" if in_keys else bytes(size), bytes(size) if in_keys else None, partition=0)
    assert producer.flush(SECONDS) == 0
    one = reader(topic, max_bytes=100)
    # All have arrived before the first is taken, so that there are left-overs.
    one.take(0, 0)
    batches = read(one, 0, len(sizes))
    columns = [(batch.keys if in_keys else batch.values).to_pylist() for batch in batches]
    assert [len(item or b"") for column in columns for item in column] == sizes
    for column in columns:
        assert len(column) == 1 or sum(len(item or b"") for item in column) <= 100


def test_reading_continues_at_another_offset_on_request(kafka: Kafka, reader: Callable[..., PartitionReader]) -> None:
    topic = kafka.topic()
    kafka.write(topic, numbers(0, 50))
    one = reader(topic, max_bytes=5)
    for start in (0, 40, 10):
        assert values(read(one, start, 3))[:3] == numbers(start, start + 3)


def test_a_message_of_ten_megabytes_arrives_complete(kafka: Kafka, reader: Callable[..., PartitionReader]) -> None:
    topic = kafka.topic(max_message_bytes=11 * MEGABYTE)
    large = bytes(range(256)) * (10 * MEGABYTE // 256)
    kafka.write(topic, [b"before", large, b"after"])
    batches = read(reader(topic), 0, 3)
    assert values(batches) == [b"before", large, b"after"]
    assert all(len(batch) == 1 for batch in batches if large in batch.values.to_pylist())


def test_an_empty_partition_gives_empty_batches(kafka: Kafka, reader: Callable[..., PartitionReader]) -> None:
    topic = kafka.topic()
    one = reader(topic)
    batch = one.take(0, 0)
    assert (len(batch), batch.span.start, batch.span.end) == (0, 0, 0)
    assert one.nothing(0, 0) == batch
    kafka.write(topic, [b"1"])
    assert values(read(one, 0, 1)) == [b"1"]


def test_the_backlog_counts_the_offsets_after_the_position(
    kafka: Kafka, reader: Callable[..., PartitionReader]
) -> None:
    topic = kafka.topic()
    kafka.write(topic, numbers(0, 10))
    one = reader(topic)
    assert one.backlog(0) == 0
    read(one, 0, 4)
    assert [one.backlog(position) for position in (0, 4, 10, 12)] == [10, 6, 0, 0]


# --- Transactions.


def test_aborted_records_are_not_read_and_the_spans_tile_over_them(
    kafka: Kafka, reader: Callable[..., PartitionReader]
) -> None:
    topic = kafka.topic()
    kafka.write_transaction(topic, numbers(0, 3))
    kafka.write_transaction(topic, [b"aborted"] * 4, commit=False)
    kafka.write_transaction(topic, numbers(3, 5))
    kafka.write(topic, numbers(5, 6))
    batches = read(reader(topic), 0, 6)
    assert values(batches) == numbers(0, 6)
    # Three records and a marker, four and a marker, two and a marker, one.
    assert batches[-1].span.end == 13
    assert [offset for batch in batches for offset in batch.offsets.tolist()] == [0, 1, 2, 9, 10, 12]


def test_an_open_transaction_holds_back_later_records(kafka: Kafka, reader: Callable[..., PartitionReader]) -> None:
    topic = kafka.topic()
    kafka.write(topic, [b"1"])
    producer = kafka.settings.producer(**{"transactional.id": kafka.topic_names("open")})
    producer.init_transactions(SECONDS)
    producer.begin_transaction()
    producer.produce(topic, b"2", partition=0)
    assert producer.flush(SECONDS) == 0
    kafka.write(topic, [b"3"])
    one = reader(topic)
    assert values(read(one, 0, 1)) == [b"1"]
    assert reader(topic, start=StartAt("latest")).opening() == Opening(1)
    assert len(one.take(1, 0)) == 0
    producer.commit_transaction(SECONDS)
    assert values(read(one, 1, 2)) == [b"2", b"3"]


# --- Gaps.


def test_a_committed_offset_that_has_expired_is_a_gap(kafka: Kafka, reader: Callable[..., PartitionReader]) -> None:
    topic = kafka.topic()
    kafka.write(topic, numbers(0, 10))
    kafka.commit(f"group-of-{topic}", topic, 2, TopicIdentities(kafka.admin).of(topic))
    kafka.delete_records(topic, 6)
    with pytest.raises(
        OffsetGapError, match=r"partition 0: the records at offsets 2 to 5 have expired; .*--on-gap report"
    ):
        reader(topic).opening()
    one = reader(topic, on_gap="report")
    opening = one.opening()
    assert opening.offset == 6
    assert "offsets 2 to 5 have expired" in (opening.gap or "")
    first, *others = read(one, 6, 4)
    assert first.gap == opening.gap
    assert all(batch.gap is None for batch in others)


def test_records_that_expire_while_reading_are_a_gap(kafka: Kafka, reader: Callable[..., PartitionReader]) -> None:
    topic = kafka.topic()
    kafka.write(topic, numbers(0, 10))
    kafka.delete_records(topic, 6)
    strict = reader(topic)
    with pytest.raises(OffsetGapError, match="offsets 2 to 5 have expired"):
        read(strict, 2, 1)
    one = reader(topic, on_gap="report")
    # (An empty batch is false.)
    (gap,) = eventually(lambda: [batch for batch in [one.take(2, 2)] if batch.gap])
    assert "offsets 2 to 5 have expired" in (gap.gap or "")
    assert (gap.span.start, gap.span.end, len(gap)) == (2, 6, 0)
    assert values(read(one, gap.span.end, 4)) == numbers(6, 10)


def test_a_committed_offset_past_the_end_means_that_the_topic_was_recreated(
    kafka: Kafka, reader: Callable[..., PartitionReader]
) -> None:
    topic = kafka.topic()
    kafka.write(topic, numbers(0, 3))
    kafka.commit(f"group-of-{topic}", topic, 100)
    with pytest.raises(OffsetGapError, match="recreated: offset 100 was committed, it ends at 3"):
        reader(topic).opening()
    opening = reader(topic, on_gap="report").opening()
    assert opening.offset == 0
    assert "recreated" in (opening.gap or "")


def test_an_offset_that_was_committed_for_another_topic_of_the_name_is_a_gap(
    kafka: Kafka, reader: Callable[..., PartitionReader]
) -> None:
    topic = kafka.topic()
    kafka.write(topic, numbers(0, 3))
    before = TopicIdentities(kafka.admin).of(topic)
    kafka.recreate(topic)
    assert TopicIdentities(kafka.admin).of(topic) not in ("", before)
    kafka.write(topic, numbers(10, 15))
    # Deleting a topic deletes what groups committed for it; a commit that comes late stays.
    kafka.commit(f"group-of-{topic}", topic, 2, before)
    with pytest.raises(OffsetGapError, match="recreated since offset 2 was committed"):
        reader(topic).opening()
    one = reader(topic, on_gap="report")
    assert one.opening().offset == 0
    assert values(read(one, 0, 5)) == numbers(10, 15)


def test_a_topic_that_is_recreated_while_it_is_read_ends_the_reading_of_its_partition(
    kafka: Kafka, reader: Callable[..., PartitionReader]
) -> None:
    topic = kafka.topic()
    kafka.write(topic, numbers(0, 10))
    strict, one = reader(topic), reader(topic, on_gap="report")
    assert len(values(read(one, 0, 10))) == 10
    read(strict, 0, 10)
    kafka.recreate(topic)
    kafka.write(topic, numbers(0, 3))

    def fails(reader: PartitionReader) -> OffsetGapError | None:
        try:
            reader.take(10, 0)
        except OffsetGapError as error:
            return error
        return None

    assert isinstance(eventually(lambda: fails(one)), TopicRecreatedError)
    assert "recreated: reading was at offset 10" in str(eventually(lambda: fails(strict)))


def test_a_recreated_topic_that_has_outgrown_the_position_is_not_taken_for_expired_records(
    kafka: Kafka, reader: Callable[..., PartitionReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = kafka.topic()
    kafka.write(topic, numbers(0, 3))
    one = reader(topic, on_gap="report")
    # The position is refused while the topic ends at 3; when its bounds are asked for, it has grown beyond.
    monkeypatch.setattr(one, "_bounds", lambda: (0, 20))

    def recreated() -> bool:
        try:
            return bool(one.take(10, 10).gap)
        except TopicRecreatedError:
            return True

    eventually(recreated)
    with pytest.raises(TopicRecreatedError):
        one.take(10, 10)


def test_a_topic_that_is_missing_is_waited_for(kafka: Kafka, reader: Callable[..., PartitionReader]) -> None:
    topic = kafka.topic_names("late")
    hasty = KafkaSettings(kafka.settings.bootstrap_servers, {"topic.metadata.refresh.interval.ms": "200"})
    one = reader(topic, kafka=hasty)
    assert len(one.take(0, 0)) == 0
    kafka.make_topic(topic)
    kafka.write(topic, numbers(0, 2))
    assert values(read(one, 0, 2)) == numbers(0, 2)


class Failing:
    """A consumer that returns only errors."""

    def __init__(self, *codes: int) -> None:
        self.codes = codes

    def assign(self, partitions: list[Any]) -> None: ...

    def close(self) -> None: ...

    def consume(self, count: int, timeout: float) -> list[Any]:
        return [SimpleNamespace(error=partial(KafkaError, code)) for code in self.codes]


def test_broker_errors_are_logged_once_and_give_empty_batches(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.NOT_LEADER_FOR_PARTITION)
    monkeypatch.setattr(KafkaSettings, "consumer", lambda self, group: Failing(*codes))
    one = PartitionReader(ReadSettings(KafkaSettings("nobody:1"), "g"), Partition("t", "", 0))
    for _ in range(3):
        assert len(one.take(5, 5)) == 0
    assert len([message for message in caplog.messages if message.endswith("trying again")]) == len(codes)
