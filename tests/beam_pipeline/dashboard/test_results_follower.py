"""The results topic of a real broker: slow streams are read completely, fast ones are sampled and counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pytest
from confluent_kafka import Message

from beam_pipeline.dashboard.distributions import Distributions
from beam_pipeline.dashboard.history import History
from beam_pipeline.dashboard.message_reader import MessageReader
from beam_pipeline.dashboard.repeated_thread import RepeatedThread
from beam_pipeline.dashboard.results import Results
from beam_pipeline.dashboard.results_follower import BACKLOG, READ_A_TICK, TICK_SECONDS, ResultsFollower, Skipped
from beam_pipeline.dashboard.settings import Reading
from beam_pipeline.dashboard.topic_follower import TopicFollower
from models.columns.outputs import RecordOutputs
from models.columns.scored import ModelCall, ModelIdentity
from models.kafka.client import KafkaSettings
from models.records.record_type import RecordType
from models.results.decoder import ResultDecoder
from models.results.encoder import Origin, ResultEncoder
from runners.local.kafka_broker import LocalBroker
from tests.conftest import MakeTopic

SECONDS = 60.0
CODEC = RecordType.named("recommender").codec
READING = Reading((ResultDecoder(CODEC.embedding),))


@pytest.fixture
def kafka(broker: LocalBroker) -> KafkaSettings:
    return KafkaSettings(broker.bootstrap_servers)


def result(version: int, offset: int = 0, topic: str = "records") -> bytes:
    """A result of this version for the record at this offset."""
    model = ModelIdentity("recommender", version, "python", "/m", "d" * 64, 7)
    call = ModelCall(model, 1_700_000_000_000_000, 1_500, 1)
    outputs = RecordOutputs({"score": np.array([[version]], "f4")}, np.array([0, 1]))
    records = pa.array([CODEC.encode({"user": 1, "products": [], "dataType": "recommender"})], pa.binary())
    encoder = ResultEncoder(CODEC.embedding)
    (encoded,) = encoder.encode(call, Origin(topic, 0), records, np.array([offset]), outputs).to_pylist()
    return bytes(encoded)


class Produced:
    """Writes results to a topic."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._producer = kafka.producer()
        self._topic = topic

    def write(self, value: bytes, number: int, partition: int = 0, at: int = 0) -> None:
        for _ in range(number):
            self._producer.produce(self._topic, value, partition=partition, timestamp=at)
            self._producer.poll(0)
        assert self._producer.flush(30) == 0


class Taken:
    """What a follower has handed on."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.skipped: list[Skipped] = []

    def take(self, messages: Sequence[Message], skipped: Sequence[Skipped]) -> None:
        self.messages += messages
        self.skipped += skipped

    @property
    def counted(self) -> int:
        return len(self.messages) + sum(one.number for one in self.skipped)


def wait_until(holds: Callable[[], bool], thread: RepeatedThread) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, thread.problem
        time.sleep(0.05)


@contextmanager
def following(kafka: KafkaSettings, topic: str, take: Callable[..., None]) -> Iterator[RepeatedThread]:
    with running(ResultsFollower(kafka, topic, take)) as thread:
        yield thread


@contextmanager
def running(follower: ResultsFollower | TopicFollower) -> Iterator[RepeatedThread]:
    thread = RepeatedThread("results", follower.follow)
    thread.start()
    try:
        yield thread
    finally:
        thread.close()


def test_what_was_written_before_is_read_from_the_windows_beginning(
    kafka: KafkaSettings, make_topic: MakeTopic, topic_names: Callable[[str], str]
) -> None:
    topic, now = make_topic(topic_names("results"), partitions=2), round(time.time() * 1000)
    produced, taken = Produced(kafka, topic), Taken()
    produced.write(b"too old", 5, at=now - 3_600_000)
    produced.write(b"first", 3, at=now - 60_000)
    produced.write(b"second", 4, partition=1, at=now - 30_000)
    with following(kafka, topic, taken.take) as thread:
        wait_until(lambda: taken.counted >= 7, thread)
        produced.write(b"third", 2, at=now)
        wait_until(lambda: taken.counted >= 9, thread)
    assert sorted(one.value() for one in taken.messages) == [b"first"] * 3 + [b"second"] * 4 + [b"third"] * 2
    assert taken.skipped == []


def test_a_fast_stream_is_sampled_and_every_result_is_counted(
    kafka: KafkaSettings, make_topic: MakeTopic, topic_names: Callable[[str], str]
) -> None:
    topic = make_topic(topic_names("results"), partitions=2)
    produced, taken, number = Produced(kafka, topic), Taken(), 60_000
    produced.write(b"before", 1)
    with following(kafka, topic, taken.take) as thread:
        wait_until(lambda: taken.counted >= 1, thread)
        begin = time.monotonic()
        for partition in (0, 1):
            produced.write(b"fast", number // 2, partition=partition)
        # What was skipped is counted with the next result that is read.
        for partition in (0, 1):
            produced.write(b"last", 1, partition=partition)
        wait_until(lambda: taken.counted == number + 3, thread)
        ticks = (time.monotonic() - begin) / TICK_SECONDS + 2
    assert len(taken.messages) <= ticks * READ_A_TICK
    assert len(taken.messages) < number / 2, "it was read completely"


def test_a_sample_weighs_partitions_by_their_rates(
    kafka: KafkaSettings, make_topic: MakeTopic, topic_names: Callable[[str], str]
) -> None:
    topic = make_topic(topic_names("results"), partitions=2)
    produced, history = Produced(kafka, topic), History()
    results = Results(READING, MessageReader(kafka), (), history, Distributions())
    rounds, many, few = 15, 2_700, 300
    with following(kafka, topic, results.take) as thread:
        for _ in range(rounds):
            produced.write(result(1), many)
            produced.write(result(2), few, partition=1)
        for partition, version in ((0, 1), (1, 2)):
            produced.write(result(version), 1, partition=partition)
        total = rounds * (many + few) + 2
        wait_until(lambda: history.totals()["results"] == total, thread)
    numbers = {one["label"]: one["number"] for one in history.versions()}
    weights = [second.sampled for second in history._seconds.values()]
    of_first = sum(one.get(numbers["recommender/1"], 0.0) for one in weights)
    of_second = sum(one.get(numbers["recommender/2"], 0.0) for one in weights)
    assert of_first == pytest.approx(rounds * many + 1)
    assert of_second == pytest.approx(rounds * few + 1)


def test_of_a_large_backlog_every_result_is_counted_and_a_few_of_each_time_are_read(
    kafka: KafkaSettings, make_topic: MakeTopic, topic_names: Callable[[str], str]
) -> None:
    topic, now = make_topic(topic_names("results")), round(time.time() * 1000)
    produced, history = Produced(kafka, topic), History()
    results = Results(READING, MessageReader(kafka), (), history, Distributions())
    half = BACKLOG // 2 + 500
    produced.write(result(1), half, at=now - 120_000)
    produced.write(result(2), half, at=now - 60_000)
    with following(kafka, topic, results.take) as thread:
        wait_until(lambda: history.totals()["results"] >= 2 * half, thread)
    numbers = {one["label"]: str(one["number"]) for one in history.versions()}
    of_version = {
        label: sum(row["rates"].get(number, 0) for row in history.seconds()) for label, number in numbers.items()
    }
    assert set(of_version) == {"recommender/1", "recommender/2"}
    assert history.totals()["results"] == 2 * half
    first = [row["at"] for row in history.seconds() if numbers["recommender/1"] in row["rates"]]
    second = [row["at"] for row in history.seconds() if numbers["recommender/2"] in row["rates"]]
    assert max(first) < min(second)


def test_latency_is_the_time_between_the_messages(
    kafka: KafkaSettings, make_topic: MakeTopic, topic_names: Callable[[str], str]
) -> None:
    topic, records = make_topic(topic_names("results")), make_topic(topic_names("records"))
    now = round(time.time() * 1000) - 5_000
    Produced(kafka, records).write(b"record", 3, at=now)
    for offset in range(3):
        Produced(kafka, topic).write(result(1, offset, records), 1, at=now + 250)
    history, reader = History(), MessageReader(kafka)
    results = Results(READING, reader, (records,), history, Distributions())
    try:
        with following(kafka, topic, results.take) as thread:
            wait_until(lambda: history.totals()["p50"] is not None, thread)
    finally:
        reader.close()
    assert history.totals()["p50"] == 250
    assert [one["text"] for one in results.recent()] == ["score 1"] * 3


def test_what_is_no_result_is_counted_and_the_others_are_shown(
    kafka: KafkaSettings, make_topic: MakeTopic, topic_names: Callable[[str], str]
) -> None:
    topic = make_topic(topic_names("results"))
    produced, history = Produced(kafka, topic), History()
    results = Results(READING, MessageReader(kafka), (), history, Distributions())
    produced.write(b"garbage", 2)
    produced.write(result(1), 1)
    with following(kafka, topic, results.take) as thread:
        wait_until(lambda: bool(results.recent()), thread)
    assert results.malformed == 2


def test_a_topic_that_is_missing_is_named_and_waited_for(
    kafka: KafkaSettings, make_topic: MakeTopic, topic_names: Callable[[str], str]
) -> None:
    topic, taken = topic_names("results"), Taken()
    with following(kafka, topic, taken.take) as thread:
        wait_until(lambda: thread.problem is not None, thread)
        assert thread.problem == f"topic {topic!r} does not exist yet"
        make_topic(topic)
        Produced(kafka, topic).write(b"now", 1)
        wait_until(lambda: taken.counted == 1, thread)
        wait_until(lambda: thread.problem is None, thread)


@pytest.mark.parametrize("kind", [ResultsFollower, TopicFollower])
def test_after_an_outage_it_goes_on_where_it_was(
    kafka: KafkaSettings,
    make_topic: MakeTopic,
    topic_names: Callable[[str], str],
    kind: type[ResultsFollower] | type[TopicFollower],
) -> None:
    topic = make_topic(topic_names("results"), partitions=2)
    values: list[bytes] = []
    produced = Produced(kafka, topic)
    follower = kind(kafka, topic, lambda messages, *_: values.extend(one.value() for one in messages))
    for number in range(3):
        produced.write(b"%d" % number, 1, partition=number % 2)
        # After a failure, a thread calls the same follower again.
        with running(follower) as thread:
            wait_until(lambda: len(values) > number, thread)  # noqa: B023
    assert values == [b"0", b"1", b"2"]


def test_only_the_last_messages_of_each_partition_are_read_if_the_others_do_not_matter(
    kafka: KafkaSettings, make_topic: MakeTopic, topic_names: Callable[[str], str]
) -> None:
    topic = make_topic(topic_names("letters"), partitions=2)
    values: list[bytes] = []
    produced = Produced(kafka, topic)
    for number in range(6):
        produced.write(b"%d" % number, 1, partition=number % 2)
    follower = TopicFollower(kafka, topic, lambda messages: values.extend(one.value() for one in messages), last=2)
    with running(follower) as thread:
        wait_until(lambda: len(values) >= 4, thread)
        produced.write(b"6", 1)
        wait_until(lambda: len(values) >= 5, thread)
    assert sorted(values) == [b"2", b"3", b"4", b"5", b"6"]
