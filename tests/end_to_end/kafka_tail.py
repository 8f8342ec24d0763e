"""Follows a topic from its beginning, as a consumer of the application would."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import KafkaException, Message, TopicPartition

from models.kafka.client import KafkaSettings, partition_count
from models.records.batch import Headers

SECONDS = 120.0


class KafkaTail:
    """All messages of a topic so far, in `messages`; only `until`, `poll` and `to_the_end` fetch more."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._topic = topic
        self._consumer = kafka.consumer("tests", **{"enable.partition.eof": False})
        count = partition_count(self._consumer, topic, 10.0)
        assert count, f"topic {topic!r} does not exist"
        self._partitions = range(count)
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in self._partitions])
        self.messages: list[Message] = []

    def poll(self, seconds: float = 0.1) -> list[Message]:
        """Fetches the available messages, waiting up to `seconds` for the first; tolerates errors of the connection."""
        came = [message for message in self._consumer.consume(10_000, seconds) if message.error() is None]
        self.messages += came
        return came

    def until(self, holds: Callable[[], bool], seconds: float = SECONDS) -> bool:
        """Fetches messages until the condition holds; returns whether it did within the time limit."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                return False
            self.poll()
        return True

    def to_the_end(self) -> None:
        """Fetches every message that is in the topic now."""
        ends = {partition: self._end(partition) for partition in self._partitions}
        deadline = time.monotonic() + SECONDS
        while any(self._position(partition) < end for partition, end in ends.items()):
            assert time.monotonic() < deadline, f"the end of {self._topic!r} was not reached"
            self.poll()

    def _end(self, partition: int) -> int:
        """The end of the partition; a broker that has just started may not know its topics yet."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                _, end = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), 10.0)
                return int(end)
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def close(self) -> None:
        self._consumer.close()

    def _position(self, partition: int) -> int:
        (where,) = self._consumer.position([TopicPartition(self._topic, partition)])
        return max(0, int(where.offset))


def headers_of(message: Message) -> Headers:
    """The headers; empty if there are none."""
    return tuple(message.headers() or ())
