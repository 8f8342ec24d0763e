from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from apache_beam.utils.timestamp import Duration
from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewPartitions

from models.errors import KafkaUnreachableError, OffsetGapError
from models.kafka.client import KafkaSettings
from models.kafka.partition_reader import Partition, PartitionReader, ReadSettings
from models.kafka.start_at import StartAt
from models.records.batch import RecordBatch
from tests.conftest import MakeTopic
from tests.transforms.bundles import Bundle, eventually, run_bundle
from tests.transforms.conftest import Put
from transforms.checkpointing import Reading
from transforms.kafka_source import FindPartitions, Pace, ReadPartition
from transforms.observing import Observing
from transforms.process_shared import ProcessShared

QUIET = Pace(heartbeat_seconds=0.0)
Read = Callable[..., tuple[ReadPartition, Partition]]


@pytest.fixture
def topic(make_topic: MakeTopic, topic_names: Callable[[str], str]) -> str:
    return make_topic(topic_names("source"))


@pytest.fixture
def read(kafka: KafkaSettings, topic: str) -> Iterator[Read]:
    """Creates sources of the topic's partition and sets them up; they are torn down at the end."""
    made: list[ReadPartition] = []

    def make(pace: Pace = QUIET, **settings: object) -> tuple[ReadPartition, Partition]:
        reading = replace(ReadSettings(kafka, f"group-{topic}"), **settings)  # type: ignore[arg-type]
        source = ReadPartition(reading, pace, ProcessShared(), ahead=False, observing=Observing())
        source.setup()
        made.append(source)
        return source, Partition(topic, "", 0)

    yield make
    for source in made:
        source.teardown()


def texts(batches: list[RecordBatch]) -> list[bytes | None]:
    return [value for batch in batches for value in batch.values.to_pylist()]


def read_all(
    source: ReadPartition, partition: Partition, reading: Reading, count: int
) -> tuple[list[RecordBatch], Reading]:
    """Runs bundle after bundle until this many records have been read."""
    batches: list[RecordBatch] = []

    def enough() -> bool:
        nonlocal reading
        bundle = run_bundle(source, partition, reading)
        batches.extend(bundle.outputs)
        assert bundle.rest is not None
        reading = bundle.rest
        return sum(map(len, batches)) >= count

    eventually(enough)
    return batches, reading


def test_the_lists_of_a_partition_tile_its_offsets_bundle_after_bundle(read: Read, topic: str, put: Put) -> None:
    values = [str(number).encode() for number in range(1_000)]
    put(topic, values)
    source, partition = read(max_records=70)
    batches, reading = read_all(source, partition, Reading(0, 0), 1_000)
    assert texts(batches) == values
    assert reading == Reading(0, 1_000)
    assert all(len(batch) <= 70 for batch in batches)
    ends = [0, *(batch.span.end for batch in batches)]
    assert [batch.span.start for batch in batches] == ends[:-1]
    assert {(batch.span.topic, batch.span.partition, batch.span.origin) for batch in batches} == {(topic, 0, 0)}


def test_a_bundle_takes_so_many_lists_at_most_and_comes_back_at_once_for_more(read: Read, topic: str, put: Put) -> None:
    put(topic, [b"x"] * 1_000)
    source, partition = read(replace(QUIET, batches=3, live_seconds=5.0), max_records=10)
    bundles: list[Bundle] = []
    reading = Reading(0, 0)

    def full() -> bool:
        nonlocal reading
        bundles.append(run_bundle(source, partition, reading))
        reading = bundles[-1].rest or reading
        return len(bundles[-1].outputs) == 3

    eventually(full)
    assert all(len(bundle.outputs) <= 3 for bundle in bundles)
    assert bundles[-1].pause == 0.0, "there is a backlog"
    _, reading = read_all(source, partition, reading, 1_000 - reading.position)
    idle = run_bundle(source, partition, reading)
    assert (idle.outputs, idle.rest, idle.pause) == ([], reading, 5.0)


def test_what_arrives_during_a_bundle_waits_for_the_next_one(
    read: Read, topic: str, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = PartitionReader.take

    def take_and_let_another_arrive(self: PartitionReader, position: int, origin: int) -> RecordBatch:
        batch = take(self, position, origin)
        if len(batch):
            put(topic, [b"late"])
            eventually(lambda: self.backlog(batch.span.end))
        return batch

    monkeypatch.setattr(PartitionReader, "take", take_and_let_another_arrive)
    put(topic, [b"x"])
    source, partition = read(replace(QUIET, live_seconds=5.0))
    bundle = eventually(lambda: (one := run_bundle(source, partition, Reading(0, 0))) and one.outputs and one)
    assert texts(bundle.outputs) == [b"x"]
    assert bundle.pause == 5, "a record is no reason to hurry"


def test_a_checkpoint_within_a_bundle_loses_nothing_and_repeats_nothing(read: Read, topic: str, put: Put) -> None:
    values = [str(number).encode() for number in range(100)]
    put(topic, values)
    source, partition = read(max_records=10)
    reading = Reading(0, 0)
    first = Bundle()

    def something() -> bool:
        nonlocal first
        first = run_bundle(source, partition, reading, checkpoint_after=1)
        return bool(first.outputs)

    eventually(something)
    assert first.rest is not None
    assert first.rest.position == first.outputs[0].span.end, "what was taken for a refused claim is not emitted"
    rest, _ = read_all(source, partition, first.rest, 100 - len(first.outputs[0]))
    assert texts([*first.outputs, *rest]) == values


def test_an_empty_list_comes_after_a_while_without_records(read: Read) -> None:
    source, partition = read(replace(QUIET, heartbeat_seconds=0.05))
    bundle = eventually(lambda: (one := run_bundle(source, partition, Reading(0, 0))) and one.outputs and one)
    (heartbeat,) = bundle.outputs
    assert len(heartbeat) == 0
    assert (heartbeat.span.start, heartbeat.span.end) == (0, 0)


def test_reading_begins_at_the_committed_offset(read: Read, topic: str, put: Put, kafka: KafkaSettings) -> None:
    put(topic, [b"x"] * 10)
    consumer = kafka.consumer(f"group-{topic}")
    consumer.commit(offsets=[TopicPartition(topic, 0, 4)], asynchronous=False)
    consumer.close()
    source, partition = read()
    assert source.initial_restriction(partition) == Reading(4, 4)
    earliest, partition = read(start=StartAt("earliest"))
    assert earliest.initial_restriction(partition) == Reading(0, 0)


def test_the_beginning_waits_for_a_broker_that_is_away(
    read: Read, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opening, asked = PartitionReader.opening, []

    def away_at_first(self: PartitionReader) -> object:
        asked.append(self)
        if len(asked) < 3:
            raise KafkaUnreachableError("no broker answers")
        return opening(self)

    monkeypatch.setattr(PartitionReader, "opening", away_at_first)
    monkeypatch.setattr("transforms.kafka_source._RETRY_SECONDS", 0.01)
    source, partition = read()
    assert source.initial_restriction(partition) == Reading(0, 0)
    assert "no broker answers; trying again" in caplog.text


@pytest.mark.parametrize("on_gap", ["fail", "report"])
def test_an_expired_record_is_a_gap(read: Read, topic: str, put: Put, kafka: KafkaSettings, on_gap: str) -> None:
    put(topic, [b"x"] * 10)
    where = TopicPartition(topic, 0, 6)
    kafka_admin = kafka.admin()
    kafka_admin.delete_records([where])[where].result(30)
    source, partition = read(on_gap=on_gap)
    if on_gap == "fail":
        with pytest.raises(OffsetGapError, match="offsets 2 to 5 have expired"):
            eventually(lambda: run_bundle(source, partition, Reading(0, 2)).outputs)
        return
    batches, reading = read_all(source, partition, Reading(0, 2), 4)
    assert "offsets 2 to 5 have expired" in (batches[0].gap or "")
    assert (batches[0].span.start, batches[0].span.end) == (2, 6)
    assert [offset for batch in batches for offset in batch.offsets] == [6, 7, 8, 9]
    assert reading == Reading(0, 10)


def test_the_backlog_is_the_size_of_the_work(read: Read, topic: str, put: Put) -> None:
    put(topic, [b"x"] * 100)
    source, partition = read(replace(QUIET, batches=1), max_records=10)
    _, reading = read_all(source, partition, Reading(0, 0), 10)
    assert source.restriction_size(partition, reading) == 1 + 100 - reading.position
    assert source.restriction_size(partition, replace(reading, done=True)) == 1


# --- Partitions.


@pytest.fixture
def find(kafka: KafkaSettings) -> Iterator[FindPartitions]:
    source = FindPartitions(kafka, ProcessShared(), ahead=False)
    source.setup()
    yield source
    source.teardown()


def test_partitions_are_found_at_first_and_when_they_are_added(
    find: FindPartitions, kafka: KafkaSettings, make_topic: MakeTopic, topic_names: Callable[[str], str]
) -> None:
    topic = make_topic(topic_names("growing"), partitions=2)
    first = eventually(lambda: (one := run_bundle(find, topic, Reading(0, 0))) and one.outputs and one)
    assert [(one.partition, one.from_beginning) for one in first.outputs] == [(0, False), (1, False)]
    assert all(one.topic_id for one in first.outputs)
    again = run_bundle(find, topic, first.rest)
    assert (again.outputs, again.rest) == ([], first.rest)
    admin = kafka.admin()
    admin.create_partitions([NewPartitions(topic, 4)])[topic].result(30)
    later = eventually(lambda: (one := run_bundle(find, topic, first.rest)) and one.outputs and one)
    assert [(one.partition, one.from_beginning) for one in later.outputs] == [(2, True), (3, True)]


def test_a_topic_that_does_not_exist_is_waited_for_and_said_once(
    find: FindPartitions,
    make_topic: MakeTopic,
    topic_names: Callable[[str], str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    name = topic_names("late")
    for _ in range(2):
        bundle = run_bundle(find, name, Reading(0, 0))
        assert (bundle.outputs, bundle.rest, bundle.pause) == ([], Reading(0, 0), 1.0)
    assert [message for message in caplog.messages if name in message] == [
        f"topic {name!r} does not exist, or this user may not describe it; waiting for it"
    ]
    make_topic(name)
    eventually(lambda: run_bundle(find, name, Reading(0, 0)).outputs)


def test_all_partitions_of_a_recreated_topic_are_new(
    find: FindPartitions, kafka: KafkaSettings, make_topic: MakeTopic, topic_names: Callable[[str], str]
) -> None:
    topic = make_topic(topic_names("anew"), partitions=2)
    first = eventually(lambda: (one := run_bundle(find, topic, Reading(0, 0))) and one.outputs and one)
    admin = kafka.admin()
    admin.delete_topics([topic])[topic].result(30)
    eventually(lambda: topic not in admin.list_topics(timeout=10).topics)
    make_topic(topic, partitions=2)
    again = eventually(lambda: (one := run_bundle(find, topic, first.rest)) and one.outputs and one)
    assert [(one.partition, one.from_beginning) for one in again.outputs] == [(0, True), (1, True)]
    assert {one.topic_id for one in again.outputs}.isdisjoint({one.topic_id for one in first.outputs})


def test_a_partition_of_a_recreated_topic_ends_even_when_the_new_one_is_longer(
    read: Read, topic: str, put: Put, kafka: KafkaSettings
) -> None:
    put(topic, [b"x"] * 10)
    source, partition = read(on_gap="report")
    known = replace(partition, topic_id="old")
    source._readers.recreated(topic, "old")
    _, reading = read_all(source, known, Reading(0, 0), 5)
    assert source._readers.recreated(topic, "new")
    bundle = run_bundle(source, known, reading)
    assert bundle.rest is None
    assert [(len(batch), "the topic was recreated" in (batch.gap or "")) for batch in bundle.outputs] == [(0, True)]
    failing, _ = read(on_gap="fail")
    failing._readers.recreated(topic, "new")
    with pytest.raises(OffsetGapError, match="the topic was recreated"):
        run_bundle(failing, known, reading)


def test_the_end_of_a_transaction_is_no_record_to_hurry_for(read: Read, topic: str, kafka: KafkaSettings) -> None:
    producer = kafka.producer(**{"transactional.id": topic})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"x", partition=0)
    producer.commit_transaction(30)
    source, partition = read(replace(QUIET, live_seconds=5.0))
    _, reading = read_all(source, partition, Reading(0, 0), 1)
    assert reading == Reading(0, 1), "the offset behind it belongs to the transaction"
    assert run_bundle(source, partition, reading).pause == 5


def test_nobody_answers_and_nothing_is_found() -> None:
    source = FindPartitions(KafkaSettings("127.0.0.1:1"), ProcessShared(), ahead=False)
    source.setup()
    try:
        bundle = run_bundle(source, "any", Reading(0, 1))
        assert (bundle.outputs, bundle.rest) == ([], Reading(0, 1))
    finally:
        source.teardown()


@pytest.mark.parametrize(
    ("took", "more", "quiet", "pause"),
    [
        (True, True, 0.0, 0.0),
        (True, False, 0.0, 3.0),
        (False, False, 0.9, 3.0),
        (False, True, 0.9, 3.0),
        (False, False, 1.0, 7.0),
        (False, True, 9.0, 7.0),
    ],
)
def test_the_pause_depends_on_what_is_left_and_on_when_the_last_record_came(
    took: bool, more: bool, quiet: float, pause: float
) -> None:
    pace = Pace(idle_seconds=7.0, live_seconds=3.0)
    assert pace.pause(took, more, quiet) == Duration(seconds=pause)


def test_a_partition_without_records_is_idle_from_the_start(read: Read) -> None:
    source, partition = read(replace(QUIET, idle_seconds=5.0))
    assert run_bundle(source, partition, Reading(0, 0)).pause == 5


def test_news_are_followed_by_a_pause_of_their_own() -> None:
    pace = Pace(idle_seconds=0.02, live_seconds=0.02, news_seconds=0.1)
    assert pace.pause(True, True) == pace.pause(True, False) == Duration(seconds=0.1)
    assert pace.pause(False, False) == Duration(seconds=0.02)


def test_an_exception_in_a_bundle_closes_the_reader(read: Read, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[PartitionReader] = []
    close = PartitionReader.close

    def note(self: PartitionReader) -> None:
        closed.append(self)
        close(self)

    def fail(self: PartitionReader, position: int, origin: int) -> RecordBatch:
        raise RuntimeError("broken")

    monkeypatch.setattr(PartitionReader, "close", note)
    monkeypatch.setattr(PartitionReader, "take", fail)
    source, partition = read()
    with pytest.raises(RuntimeError, match="broken"):
        run_bundle(source, partition, Reading(0, 0))
    assert len(closed) == 1
    assert source._readers.backlog(partition, 0) == 0
