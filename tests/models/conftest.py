"""Kafka for the tests of this folder: the session's broker, and topics that contain messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from models.kafka.client import KafkaSettings
from runners.local.kafka_broker import LocalBroker
from tests.conftest import MakeTopic

T = TypeVar("T")
SECONDS = 60.0


def eventually(ask: Callable[[], T | None]) -> T:
    """Calls the function repeatedly until its result is neither None nor false; fails if it never is."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"no answer in {SECONDS:g} s")


@dataclass(frozen=True)
class Kafka:
    """The broker, and operations on topics that tests need."""

    settings: KafkaSettings
    admin: AdminClient
    make_topic: MakeTopic
    topic_names: Callable[[str], str]

    def topic(self, name: str = "records", partitions: int = 1, **config: object) -> str:
        """A new topic with a unique name."""
        made = self.make_topic(self.topic_names(name), partitions, **config)
        eventually(lambda: made in self.admin.list_topics(timeout=SECONDS).topics)
        return made

    def write(
        self,
        topic: str,
        values: Sequence[bytes | None],
        key: bytes | None = None,
        timestamp: int = 0,
        partition: int = 0,
    ) -> None:
        """Writes messages, and returns when all are acknowledged."""
        producer = self.settings.producer()
        for value in values:
            producer.produce(topic, value, key, partition=partition, timestamp=timestamp)
        assert producer.flush(SECONDS) == 0

    def write_transaction(
        self, topic: str, values: Sequence[bytes | None], keys: Sequence[str] | None = None, commit: bool = True
    ) -> None:
        """Writes messages in a transaction, and returns when it is committed or aborted for readers as well."""
        before = self.end(topic, "read_uncommitted")
        producer = self.settings.producer(**{"transactional.id": self.topic_names("transaction")})
        producer.init_transactions(SECONDS)
        producer.begin_transaction()
        for place, value in enumerate(values):
            producer.produce(topic, value, keys[place] if keys else None, partition=0)
        assert producer.flush(SECONDS) == 0
        if commit:
            producer.commit_transaction(SECONDS)
        else:
            producer.abort_transaction(SECONDS)
        # The broker answers before it has written the marker.
        eventually(lambda: self.end(topic, "read_uncommitted") > before + len(values))

    def delete_records(self, topic: str, below: int) -> None:
        """Makes the records below an offset expire."""
        where = TopicPartition(topic, 0, below)
        self.admin.delete_records([where])[where].result(SECONDS)

    def delete_topic(self, topic: str) -> None:
        """Deletes a topic, and returns when it is gone."""
        self.admin.delete_topics([topic])[topic].result(SECONDS)
        eventually(lambda: topic not in self.admin.list_topics(timeout=SECONDS).topics)

    def recreate(self, topic: str) -> None:
        """Deletes a topic, and creates one with the same name."""
        self.delete_topic(topic)

        def made() -> bool:
            try:
                return bool(self.make_topic(topic))
            except KafkaException:  # the old one is not quite gone
                return False

        eventually(made)
        eventually(lambda: topic in self.admin.list_topics(timeout=SECONDS).topics)

    def commit(self, group: str, topic: str, offset: int, metadata: str = "") -> None:
        """Commits an offset for a consumer group."""
        consumer = self.settings.consumer(group)
        where = TopicPartition(topic, 0, offset, metadata=metadata)
        (answer,) = consumer.commit(offsets=[where], asynchronous=False)
        assert answer.error is None
        consumer.close()

    def end(self, topic: str, isolation: str = "read_committed") -> int:
        """The position after the last message, or after the last committed one."""
        consumer = self.settings.consumer("end", **{"isolation.level": isolation})
        _, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=SECONDS)
        consumer.close()
        return int(high)


@pytest.fixture
def kafka(broker: LocalBroker, make_topic: MakeTopic, topic_names: Callable[[str], str]) -> Kafka:
    settings = KafkaSettings(broker.bootstrap_servers)
    return Kafka(settings, settings.admin(), make_topic, topic_names)
