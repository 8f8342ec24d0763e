from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from models.errors import KafkaUnreachableError, ModelLoadError, ModelsTopicError
from models.kafka.client import KafkaSettings
from models.model_topic.catalog import ModelCatalog
from models.model_topic.descriptor import ModelDescriptor, ModelPointer, encode_descriptor, encode_pointer
from models.model_topic.reader import ModelsTopicReader, TopicState
from tests.models.conftest import SECONDS, Kafka, eventually


@pytest.fixture
def reader(kafka: Kafka) -> Iterator[Callable[..., ModelsTopicReader]]:
    """Creates readers, and closes them."""
    made: list[ModelsTopicReader] = []

    def make(topic: str, timeout: float = SECONDS) -> ModelsTopicReader:
        made.append(ModelsTopicReader(kafka.settings, topic, timeout))
        return made[-1]

    yield make
    for one in made:
        one.close()


def write(kafka: Kafka, topic: str, *messages: tuple[str, bytes | None], commit: bool = True) -> None:
    """Writes messages in one transaction, as publishers do."""
    kafka.write_transaction(topic, [value for _, value in messages], [key for key, _ in messages], commit)


def version(number: int, content: bytes = b"model") -> tuple[str, bytes]:
    return f"m/{number}", encode_descriptor(ModelDescriptor("m", "t", number, model_bytes=content))


def pointer(live: int, previous: int | None = None) -> tuple[str, bytes]:
    return "m", encode_pointer(ModelPointer("m", live, previous, live))


def labels(catalog: ModelCatalog) -> list[str]:
    return [candidate.label for candidate in catalog.candidates().get("m", ())]


def test_a_topic_that_is_missing_or_empty_ends_at_its_beginning(
    kafka: Kafka, reader: Callable[..., ModelsTopicReader]
) -> None:
    for topic in (kafka.topic_names("missing"), kafka.topic("models", cleanup_policy="compact")):
        one, catalog = reader(topic), ModelCatalog()
        assert one.end() == one.written_end() == 0
        one.catch_up(catalog, 0)
        assert catalog.position == 0


def test_catching_up_skips_markers_and_aborted_messages(kafka: Kafka, reader: Callable[..., ModelsTopicReader]) -> None:
    topic = kafka.topic("models", cleanup_policy="compact")
    one, catalog = reader(topic), ModelCatalog()
    write(kafka, topic, version(1), pointer(1))
    one.catch_up(catalog, one.end())
    assert (catalog.position, labels(catalog)) == (3, ["m/1"])
    write(kafka, topic, version(2), pointer(2, 1), commit=False)
    one.catch_up(catalog, one.end())
    assert (catalog.position, labels(catalog)) == (6, ["m/1"])
    write(kafka, topic, version(2), pointer(2, 1))
    write(kafka, topic, pointer(1, 2))
    one.catch_up(catalog, one.end())
    assert (catalog.position, labels(catalog)) == (11, ["m/1", "m/2"])
    one.catch_up(catalog, one.end())
    assert catalog.position == 11
    fresh = ModelCatalog()
    reader(topic).catch_up(fresh, 11)
    assert fresh.candidates() == catalog.candidates()


def test_malformed_messages_are_skipped(kafka: Kafka, reader: Callable[..., ModelsTopicReader]) -> None:
    topic = kafka.topic("models", cleanup_policy="compact")
    write(kafka, topic, ("m/1", b"junk"), version(2), ("m/9", version(8)[1]), pointer(2), ("x/y/z", b""))
    one, catalog = reader(topic), ModelCatalog()
    one.catch_up(catalog, one.end())
    assert labels(catalog) == ["m/2"]


def test_an_open_transaction_is_not_waited_for_by_readers_but_is_part_of_what_was_written(
    kafka: Kafka, reader: Callable[..., ModelsTopicReader]
) -> None:
    topic = kafka.topic("models", cleanup_policy="compact")
    producer = kafka.settings.producer(**{"transactional.id": kafka.topic_names("publisher")})
    producer.init_transactions(SECONDS)
    producer.begin_transaction()
    producer.produce(topic, version(1)[1], "m/1", partition=0)
    assert producer.flush(SECONDS) == 0
    write(kafka, topic, version(2), pointer(2))
    one, catalog = reader(topic), ModelCatalog()
    assert (one.end(), one.written_end()) == (0, 4)
    waiting = threading.Thread(target=one.catch_up, args=(catalog, 4))
    waiting.start()
    assert not catalog.versions
    producer.commit_transaction(SECONDS)
    waiting.join(SECONDS)
    assert labels(catalog) == ["m/2"]
    assert set(catalog.versions) == {("m", 1), ("m", 2)}


def test_catching_up_skips_compacted_offsets(kafka: Kafka, reader: Callable[..., ModelsTopicReader]) -> None:
    hasty_cleaner(kafka)
    topic = kafka.topic(
        "models",
        cleanup_policy="compact",
        segment_ms=100,
        min_cleanable_dirty_ratio=0.0,
        max_compaction_lag_ms=100,
        delete_retention_ms=0,
    )
    write(kafka, topic, version(1, bytes(1000)), pointer(1))
    offsets: list[int] = []

    def compacted() -> bool:
        # Only a segment that is closed is compacted, and a message closes one.
        write(kafka, topic, version(2), pointer(2))
        offsets[:] = messages_of(kafka, topic)
        return offsets[1] > 1

    eventually(compacted)
    one, catalog = reader(topic), ModelCatalog()
    end = one.end()
    one.catch_up(catalog, end)
    assert catalog.position == end > len(offsets)
    assert labels(catalog) == ["m/2"]
    assert one.fetch(catalog.versions["m", 1].offset) == bytes(1000)
    gone = next(offset for offset in range(end) if offset not in offsets)
    with pytest.raises(ModelLoadError, match=f"-0@{gone} is gone; publish the model again"):
        one.fetch(gone)


def hasty_cleaner(kafka: Kafka) -> None:
    """Makes the broker look for segments to compact every 0.1 s instead of every 15 s, its default."""
    entry = ConfigEntry("log.cleaner.backoff.ms", "100", incremental_operation=AlterConfigOpType.SET)
    broker = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])
    kafka.admin.incremental_alter_configs([broker])[broker].result(SECONDS)


def messages_of(kafka: Kafka, topic: str) -> list[int]:
    """The offsets of all messages that still exist."""
    consumer = kafka.settings.consumer("all", **{"enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, 0, 0)])
    offsets: list[int] = []
    while (message := consumer.poll(SECONDS)) is not None and message.error() is None:
        offsets.append(message.offset())
    consumer.close()
    return offsets


def test_a_topic_that_was_cut_short_is_an_error(kafka: Kafka, reader: Callable[..., ModelsTopicReader]) -> None:
    topic = kafka.topic("models", cleanup_policy="delete")
    write(kafka, topic, version(1), pointer(1))
    kafka.delete_records(topic, 2)
    with pytest.raises(ModelsTopicError, match="recreated or truncated"):
        reader(topic).catch_up(ModelCatalog(), 3)


def test_a_recreated_topic_has_another_id_and_is_read_again_after_closing(
    kafka: Kafka, reader: Callable[..., ModelsTopicReader]
) -> None:
    topic = kafka.topic("models", cleanup_policy="compact")
    one, catalog = reader(topic), ModelCatalog()
    for number in (1, 2, 3):
        write(kafka, topic, version(number, b"old"), pointer(number))
    first = one.look()
    one.catch_up(catalog, first.end)
    assert one.fetch(catalog.versions["m", 1].offset) == b"old"
    kafka.recreate(topic)
    write(kafka, topic, version(7, b"new"), pointer(7))
    eventually(lambda: one.look().end == 3)
    second = one.look()
    assert "" not in (first.topic_id, second.topic_id)
    assert first.topic_id != second.topic_id
    one.close()
    catalog = ModelCatalog()
    one.catch_up(catalog, second.end)
    assert labels(catalog) == ["m/7"]
    assert one.fetch(0) == b"new"


def test_a_missing_topic_has_neither_id_nor_end(kafka: Kafka, reader: Callable[..., ModelsTopicReader]) -> None:
    assert reader(kafka.topic_names("missing")).look() == TopicState("", 0)


# --- Missing permissions. The broker of the tests checks none: what it would answer is put into the client's place.


class Refusing:
    """A client whose broker denies access to a topic: a consumer, or an admin client."""

    def __init__(self, listed: bool) -> None:
        self.listed = listed

    def assignment(self) -> list[TopicPartition]:
        return []

    def assign(self, _: list[TopicPartition]) -> None:
        pass

    unassign = close = lambda *_: None

    def consume(self, *_: object) -> list[RefusedMessage]:
        return [RefusedMessage()]

    def poll(self, _: float) -> RefusedMessage:
        return RefusedMessage()

    def list_topics(self, timeout: float) -> SimpleNamespace:
        there = SimpleNamespace(error=None, partitions={0: None})
        return SimpleNamespace(topics={"models": there} if self.listed else {})

    def get_watermark_offsets(self, *_: object, timeout: float) -> None:
        raise KafkaException(REFUSED)

    def describe_topics(self, topics: TopicCollection, request_timeout: float) -> dict[str, Future[None]]:
        answer: Future[None] = Future()
        answer.set_exception(KafkaException(REFUSED))
        return {"models": answer}


class RefusedMessage:
    def error(self) -> KafkaError:
        return REFUSED


REFUSED = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)


@dataclass(frozen=True)
class RefusingSettings(KafkaSettings):
    listed: bool = True

    def standalone_consumer(self, **config: Any) -> Any:
        return Refusing(self.listed)

    def admin(self) -> Any:
        return Refusing(self.listed)


REMEDY = r"models topic 'models' may not be read by this user: allow the operations Describe and Read"


@pytest.mark.parametrize("listed", [False, True])
def test_a_topic_that_may_not_be_described_is_an_error_with_the_remedy(listed: bool) -> None:
    # Most brokers leave such a topic out of the list, as if it did not exist.
    one = ModelsTopicReader(RefusingSettings("broker:9092", listed=listed), "models")
    for ask in (one.end, one.look, one.written_end):
        with pytest.raises(ModelsTopicError, match=REMEDY):
            ask()


def test_a_topic_that_may_not_be_read_is_an_error_with_the_remedy() -> None:
    one = ModelsTopicReader(RefusingSettings("broker:9092"), "models")
    with pytest.raises(ModelsTopicError, match=REMEDY):
        one.catch_up(ModelCatalog(), 1)
    with pytest.raises(ModelLoadError, match=REMEDY):
        one.fetch(0)


def test_a_topic_of_two_partitions_is_refused(kafka: Kafka, reader: Callable[..., ModelsTopicReader]) -> None:
    with pytest.raises(ModelsTopicError, match="has 2 partitions; it must have one"):
        reader(kafka.topic("models", partitions=2)).end()


def test_an_unreachable_broker_is_an_error_after_the_timeout() -> None:
    one = ModelsTopicReader(KafkaSettings("127.0.0.1:1"), "models", timeout=0.2)
    with pytest.raises(KafkaUnreachableError, match="'models'"):
        one.end()
    with pytest.raises(KafkaUnreachableError, match=r"no answer for 0\.2 s"):
        one.catch_up(ModelCatalog(), 5)
    with pytest.raises(ModelLoadError, match=r"models-0@7 did not arrive within 0\.2 s"):
        one.fetch(7)
    one.close()


# --- The bytes of inline models.


def test_inline_bytes_are_fetched_by_the_offset_of_their_message(
    kafka: Kafka, reader: Callable[..., ModelsTopicReader]
) -> None:
    topic = kafka.topic("models", cleanup_policy="compact", max_message_bytes=11 * 1024 * 1024)
    large = bytes(range(256)) * 4096 * 10
    write(kafka, topic, version(1, b"first"), version(2, large), pointer(2))
    one = reader(topic)
    assert one.fetch(1) == large
    assert one.fetch(0) == b"first"
    assert one.fetch(1) == large


def test_fetching_does_not_disturb_catching_up(kafka: Kafka, reader: Callable[..., ModelsTopicReader]) -> None:
    topic = kafka.topic("models", cleanup_policy="compact")
    one, catalog = reader(topic), ModelCatalog()
    for number in (1, 2):
        write(kafka, topic, version(number, str(number).encode()), pointer(number))
        one.catch_up(catalog, one.end())
        assert one.fetch(catalog.versions["m", number].offset) == str(number).encode()
    assert labels(catalog) == ["m/2"]


def test_a_message_without_a_model_is_rejected_at_once(kafka: Kafka, reader: Callable[..., ModelsTopicReader]) -> None:
    topic = kafka.topic("models", cleanup_policy="compact")
    located = encode_descriptor(ModelDescriptor("m", "t", 1, model_source_location="there"))
    write(kafka, topic, ("m/1", located), pointer(1), ("m/3", b"junk"), ("m/4", None))
    expected = {
        0: "contains no model bytes",
        1: "is a pointer",
        2: "neither a model descriptor",
        3: "neither a model descriptor",
        4: "is gone",  # a marker, and then the end
        5: "is gone",  # the end
    }
    one = reader(topic)
    started = time.monotonic()
    for offset, text in expected.items():
        with pytest.raises(ModelLoadError, match=text):
            one.fetch(offset)
    assert time.monotonic() - started < SECONDS


def test_a_message_past_the_end_is_rejected(kafka: Kafka, reader: Callable[..., ModelsTopicReader]) -> None:
    topic = kafka.topic("models", cleanup_policy="compact")
    write(kafka, topic, version(1))
    with pytest.raises(ModelLoadError, match="-0@100 is gone"):
        reader(topic).fetch(100)


def test_closing_is_harmless_before_anything_was_read(kafka: Kafka) -> None:
    ModelsTopicReader(kafka.settings, "models").close()
