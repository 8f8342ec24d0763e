"""The topics of one run of the demo, on the embedded broker or on a real one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from models.errors import TopicError
from models.kafka.client import KafkaSettings, partition_count
from models.kafka.topics import COMPACTED
from runners.local.embedded_broker import EmbeddedBroker

_SECONDS = 15.0
_REACH_SECONDS = 5.0
RECORD_PARTITIONS = 2
# The embedded broker does not wake a waiting fetch when messages arrive, so fetches must not wait long.
_EMBEDDED_SETTINGS = {"consumer.fetch.wait.max.ms": "10"}


@dataclass(frozen=True)
class DemoTopics:
    """The names of the topics and of the consumer group.

    Attributes:
      record_partitions: the number of partitions of the records, and that of the results.
    """

    records: str
    models: str
    results: str
    dead_letters: str
    status: str
    group: str
    record_partitions: int = RECORD_PARTITIONS

    @classmethod
    def named(cls, prefix: str) -> DemoTopics:
        """Topics whose names start with `prefix`."""
        kinds = ("records", "models", "results", "dead-letters", "status", "group")
        records, models, results, dead_letters, status, group = (f"{prefix}-{kind}" for kind in kinds)
        return cls(records, models, results, dead_letters, status, group)

    def partitions(self) -> dict[str, int]:
        """The number of partitions of each topic."""
        return {
            self.records: self.record_partitions,
            self.models: 1,
            self.results: self.record_partitions,
            self.dead_letters: 1,
            self.status: 1,
        }


@contextmanager
def embedded_topics() -> Iterator[tuple[KafkaSettings, DemoTopics]]:
    """Creates topics on a broker embedded in this process, which ends with the block."""
    topics = DemoTopics.named("demo")
    with EmbeddedBroker() as broker:
        for name, partitions in topics.partitions().items():
            broker.create_topic(name, partitions)
        yield KafkaSettings(broker.bootstrap_servers, _EMBEDDED_SETTINGS), topics


@contextmanager
def real_topics(bootstrap_servers: str) -> Iterator[tuple[KafkaSettings, DemoTopics]]:
    """Creates topics with unique names on a real broker, and deletes them at the end of the block.

    Raises:
      KafkaUnreachableError: no broker answers.
      TopicError: the broker refuses a topic.
    """
    kafka = KafkaSettings(bootstrap_servers)
    kafka.check()
    admin = kafka.admin()
    topics = DemoTopics.named(f"beam-serving-demo-{uuid.uuid4().hex[:8]}")
    partition_count(admin, topics.records, _REACH_SECONDS)
    try:
        _create(admin, topics)
        yield kafka, topics
    finally:
        _delete(admin, topics)


def _create(admin: AdminClient, topics: DemoTopics) -> None:
    wanted = [
        NewTopic(name, partitions, -1, config=COMPACTED if name == topics.models else {})
        for name, partitions in topics.partitions().items()
    ]
    for name, future in admin.create_topics(wanted).items():
        try:
            future.result(_SECONDS)
        except KafkaException as error:
            raise TopicError(f"the demo cannot create its topic {name!r}: {error.args[0].str()}") from error


def _delete(admin: AdminClient, topics: DemoTopics) -> None:
    """Deletes the topics that the broker allows to be deleted; a refusal does not make the demo fail at its end."""
    futures = [*admin.delete_topics(list(topics.partitions())).values()]
    futures += admin.delete_consumer_groups([topics.group]).values()
    for future in futures:
        with suppress(KafkaException):
            future.result(_SECONDS)
