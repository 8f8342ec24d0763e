"""Reads a topic for a console: up to its current end, or continuously."""

from __future__ import annotations

import time
from collections.abc import Iterator

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from models.errors import KafkaUnreachableError, TopicError
from models.kafka.client import KafkaSettings, partition_count

_SECONDS = 10.0
_NEWS_SECONDS = 30.0


def read_topic(kafka: KafkaSettings, topic: str, last: int | None = None, follow: bool = False) -> Iterator[Message]:
    """Yields the messages of a topic: those of a partition in order, partitions interleaved as they arrive.

    Args:
      kafka: the settings for connecting to the brokers.
      topic: the topic to read; it must exist.
      last: how many messages before each partition's end to start; None to start at its beginning.
      follow: whether to keep reading new messages; otherwise reading stops at the end of each partition.

    Raises:
      TopicError: the topic does not exist.
      KafkaUnreachableError: no broker answers.
    """
    consumer = kafka.standalone_consumer(**{"enable.partition.eof": True, "auto.offset.reset": "earliest"})
    try:
        partitions = partition_count(consumer, topic, _SECONDS)
        if not partitions:
            raise TopicError(f"topic {topic!r} does not exist at {kafka.bootstrap_servers}")
        consumer.assign([_start(consumer, topic, partition, last) for partition in range(partitions)])
        yield from _messages(consumer, partitions, follow)
    except KafkaException as error:
        raise KafkaUnreachableError(f"topic {topic!r}: {error.args[0].str()}") from error
    finally:
        consumer.close()


def _start(consumer: Consumer, topic: str, partition: int, last: int | None) -> TopicPartition:
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_SECONDS)
    return TopicPartition(topic, partition, low if last is None else max(low, high - last))


def _messages(consumer: Consumer, partitions: int, follow: bool) -> Iterator[Message]:
    ended: set[int] = set()
    while follow or len(ended) < partitions:
        for message in consumer.consume(1_000, 0.2):
            if message.error() is None:
                yield message
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())


class TopicTail:
    """Reads a topic from its beginning, and later only what is new. Not thread-safe.

    Args:
      kafka: the settings for connecting to the brokers.
      topic: the topic to read; it must exist.

    Raises:
      TopicError: the topic does not exist.
      KafkaUnreachableError: no broker answers.
    """

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._topic = topic
        self._consumer = kafka.standalone_consumer(**{"enable.partition.eof": True, "auto.offset.reset": "earliest"})
        count = partition_count(self._consumer, topic, _SECONDS)
        if not count:
            self.close()
            raise TopicError(f"topic {topic!r} does not exist at {kafka.bootstrap_servers}")
        self._next = dict.fromkeys(range(count), 0)
        self._consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in self._next])

    def close(self) -> None:
        """Closes the connection."""
        self._consumer.close()

    def news(self) -> Iterator[Message]:
        """Yields the messages up to the current end that were not yielded before.

        Raises:
          KafkaUnreachableError: the broker does not answer in time.
        """
        try:
            ends = {partition: self._end(partition) for partition in self._next}
        except KafkaException as error:
            raise KafkaUnreachableError(f"topic {self._topic!r}: {error.args[0].str()}") from error
        give_up_at = time.monotonic() + _NEWS_SECONDS
        while any(self._next[partition] < end for partition, end in ends.items()):
            for message in self._consumer.consume(1_000, 0.2):
                if message.error() is None:
                    self._next[message.partition()] = message.offset() + 1
                    yield message
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    self._next[message.partition()] = message.offset()
                give_up_at = time.monotonic() + _NEWS_SECONDS
            if time.monotonic() > give_up_at:
                raise KafkaUnreachableError(f"topic {self._topic!r}: no answer within {_NEWS_SECONDS:g} s")

    def _end(self, partition: int) -> int:
        _, end = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=_SECONDS)
        return int(end)
