"""Reads one message of a topic."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from models.errors import ExplanationError, KafkaUnreachableError, TopicError
from models.kafka.client import KafkaSettings, partition_count

_SECONDS = 15.0


def read_message(kafka: KafkaSettings, topic: str, partition: int, offset: int) -> Message:
    """The message at an offset.

    Raises:
      TopicError: the topic or the partition does not exist.
      ExplanationError: there is no message at that offset.
      KafkaUnreachableError: no broker answers.
    """
    consumer = kafka.standalone_consumer(**{"enable.partition.eof": True, "auto.offset.reset": "error"})
    try:
        partitions = partition_count(consumer, topic, _SECONDS)
        if partition >= partitions:
            raise TopicError(
                f"topic {topic!r} has the partitions 0 to {partitions - 1}, and not {partition}"
                if partitions
                else f"topic {topic!r} does not exist at {kafka.bootstrap_servers}"
            )
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_SECONDS)
        if not low <= offset < high:
            held = f"it has the offsets {low} to {high - 1}" if low < high else "it is empty"
            raise ExplanationError(f"topic {topic!r}, partition {partition} has no offset {offset}; {held}")
        consumer.assign([TopicPartition(topic, partition, offset)])
        found = _first(consumer, topic)
    except KafkaException as error:
        raise KafkaUnreachableError(f"topic {topic!r}: {error.args[0].str()}") from error
    finally:
        consumer.close()
    if found is None or found.offset() != offset:
        raise ExplanationError(
            f"topic {topic!r}, partition {partition} has no message at offset {offset}: it was compacted, or is the "
            "mark of a transaction"
        )
    return found


def _first(consumer: Consumer, topic: str) -> Message | None:
    """The first message; None if the partition ends before one."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is None:
            continue
        error = message.error()
        if error is None:
            return message
        if error.code() == KafkaError._PARTITION_EOF:
            return None
    raise KafkaUnreachableError(f"topic {topic!r}: no message arrived for {_SECONDS:g} s")
