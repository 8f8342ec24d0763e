"""Follows a topic from its beginning or from its last messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition

from beam_pipeline.dashboard.repeated_thread import RepeatedThread
from models.errors import TopicError
from models.kafka.client import KafkaSettings, partition_count

# Readers that look at a few messages at a time must not fetch megabytes ahead.
SMALL_QUEUES: dict[str, Any] = {
    "auto.offset.reset": "earliest",
    "fetch.wait.max.ms": 50,
    "queued.min.messages": 1_000,
    "queued.max.messages.kbytes": 8_192,
    "fetch.message.max.bytes": 1_048_576,
}
SECONDS_TO_ANSWER = 10.0
_PARTITIONS_SECONDS = 10.0
_POLL_SECONDS = 0.2
_BATCH = 500


class TopicFollower:
    """Hands the messages of a topic to a function.

    Args:
      kafka: the brokers.
      topic: the topic; it is waited for if it does not exist yet.
      take: takes the next messages. A message that it cannot use must not make it raise an error.
      last: how many messages before each partition's end to start; None to start at its beginning.
    """

    def __init__(
        self, kafka: KafkaSettings, topic: str, take: Callable[[Sequence[Message]], None], last: int | None = None
    ) -> None:
        self._kafka = kafka
        self._topic = topic
        self._take = take
        self._last = last
        # By partition, the offset to read next. They outlast an outage, after which it goes on where it was.
        self._positions: dict[int, int] = {}

    def follow(self, thread: RepeatedThread) -> None:
        """Follows the topic until the thread is stopping.

        Raises:
          TopicError: the topic does not exist.
          KafkaUnreachableError, KafkaException: the broker does not answer.
        """
        consumer = self._kafka.standalone_consumer(**SMALL_QUEUES)
        try:
            known, next_look = 0, 0.0
            while not thread.stopping.is_set():
                if time.monotonic() >= next_look:
                    known = self._assign_new(consumer, known)
                    next_look = time.monotonic() + _PARTITIONS_SECONDS
                    thread.succeeded()
                messages = [one for one in consumer.consume(1, _POLL_SECONDS) if one.error() is None]
                if messages:
                    self._hand_on([*messages, *(one for one in consumer.consume(_BATCH, 0) if one.error() is None)])
        finally:
            consumer.close()

    def _hand_on(self, messages: Sequence[Message]) -> None:
        self._take(messages)
        self._positions.update({one.partition(): one.offset() + 1 for one in messages})

    def _assign_new(self, consumer: Consumer, known: int) -> int:
        """Also reads the partitions from `known` on, and returns the number of partitions."""
        count = existing_partitions(consumer, self._topic)
        if count > known:
            first = not self._positions
            new = [(partition, self._start(consumer, partition, first)) for partition in range(known, count)]
            self._positions.update(new)
            consumer.incremental_assign([TopicPartition(self._topic, *one) for one in new])
        return max(known, count)

    def _start(self, consumer: Consumer, partition: int, first: bool) -> int:
        """The offset to start at: where it was before an outage; a partition that was added is read completely."""
        if partition in self._positions:
            return self._positions[partition]
        low, high = consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=SECONDS_TO_ANSWER)
        return int(max(low, high - self._last)) if first and self._last is not None else int(low)


def existing_partitions(consumer: Consumer, topic: str) -> int:
    """The number of partitions of a topic; raises TopicError when it does not exist (yet)."""
    count = partition_count(consumer, topic, SECONDS_TO_ANSWER)
    if not count:
        raise TopicError(f"topic {topic!r} does not exist yet")
    return count
