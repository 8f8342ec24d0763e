"""Reads single messages of a topic by their offsets."""

from __future__ import annotations

import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from beam_pipeline.dashboard.topic_follower import SMALL_QUEUES
from models.errors import KafkaUnreachableError
from models.kafka.client import KafkaSettings

_POLL_SECONDS = 0.05


class MessageReader:
    """Reads messages at known places. Thread-safe; the client is opened at first use.

    Args:
      kafka: the brokers.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._lock = threading.Lock()
        self._consumer: Consumer | None = None

    def read(self, topic: str, partition: int, offset: int, number: int = 1, seconds: float = 5.0) -> list[Message]:
        """The messages from `offset` to `offset + number - 1`, without those that no longer exist.

        Raises:
          KafkaUnreachableError: the broker does not answer in time.
        """
        with self._lock:
            consumer = self._opened()
            consumer.assign([TopicPartition(topic, partition, offset)])
            try:
                return _read(consumer, offset, offset + number, time.monotonic() + seconds)
            except KafkaException as error:
                raise KafkaUnreachableError(f"topic {topic!r}: {error.args[0].str()}") from error
            finally:
                consumer.unassign()

    def close(self) -> None:
        """Closes the client."""
        with self._lock:
            if self._consumer is not None:
                self._consumer.close()
            self._consumer = None

    def _opened(self) -> Consumer:
        if self._consumer is None:
            self._consumer = self._kafka.standalone_consumer(**{**SMALL_QUEUES, "enable.partition.eof": True})
        return self._consumer


def _read(consumer: Consumer, begin: int, end: int, deadline: float) -> list[Message]:
    found: list[Message] = []
    while time.monotonic() < deadline:
        for message in consumer.consume(end - begin - len(found), _POLL_SECONDS):
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                return found
            if error is not None:
                continue
            if begin <= message.offset() < end:
                found.append(message)
            if message.offset() >= end - 1:
                return found
    if found:
        return found
    raise KafkaUnreachableError("the message did not arrive in time; try again")
