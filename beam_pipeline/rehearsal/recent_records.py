"""The most recent records of topics."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from models.errors import KafkaUnreachableError, TopicError
from models.kafka.client import KafkaSettings, partition_count
from models.kafka.partition_reader import headers_of
from models.records.batch import Headers

_SECONDS = 10.0
_SILENCE_SECONDS = 30.0


@dataclass(frozen=True)
class RecentRecord:
    """One record as it is in its topic."""

    topic: str
    value: bytes | None
    headers: Headers


def recent_records(kafka: KafkaSettings, topics: Iterable[str], last: int) -> list[RecentRecord]:
    """The newest records of several topics, ordered by Kafka's timestamps.

    At most `last` records of each partition are read, and at most `last` are in memory at a time, besides those that
    the client prefetches.

    Raises:
      TopicError: a topic does not exist.
      KafkaUnreachableError: no broker answers.
    """
    consumer = kafka.standalone_consumer(**{"enable.partition.eof": True, "auto.offset.reset": "earliest"})
    newest: list[tuple[int, int, RecentRecord]] = []
    order = itertools.count()
    try:
        for topic in topics:
            for message in _last_messages(consumer, kafka, topic, last):
                record = RecentRecord(topic, message.value(), headers_of(message))
                entry = (message.timestamp()[1], next(order), record)
                if len(newest) < last:
                    heapq.heappush(newest, entry)
                else:
                    heapq.heappushpop(newest, entry)
    except KafkaException as error:
        raise KafkaUnreachableError(f"the records cannot be read: {error.args[0].str()}") from error
    finally:
        consumer.close()
    return [record for _, _, record in sorted(newest, key=lambda entry: entry[:2])]


def _last_messages(consumer: Consumer, kafka: KafkaSettings, topic: str, last: int) -> Iterator[Message]:
    """The last messages of each partition, up to where it ends now."""
    partitions = partition_count(consumer, topic, _SECONDS)
    if not partitions:
        raise TopicError(f"topic {topic!r} does not exist at {kafka.bootstrap_servers}")
    starts, ends = {}, {}
    for partition in range(partitions):
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_SECONDS)
        if low < high:
            starts[partition], ends[partition] = max(low, high - last), high
    consumer.assign([TopicPartition(topic, partition, start) for partition, start in starts.items()])
    heard_at = time.monotonic()
    while ends:
        for message in consumer.consume(1_000, 0.2):
            partition, error = message.partition(), message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                continue  # librdkafka tries again on its own
            heard_at = time.monotonic()
            if error is None and message.offset() < ends.get(partition, 0):
                yield message
            # If the last offsets hold no record, because of compaction or transactions, only the end is reported.
            if error is not None or message.offset() >= ends.get(partition, 0) - 1:
                ends.pop(partition, None)
        if time.monotonic() - heard_at > _SILENCE_SECONDS:
            raise KafkaUnreachableError(f"topic {topic!r}: no record arrived for {_SILENCE_SECONDS:g} s")
