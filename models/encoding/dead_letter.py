"""Dead letters: what could not be read, why, and where it came from."""

from __future__ import annotations

import time
from dataclasses import dataclass

from models.encoding.single_object import bundled_codec
from models.records.batch import Headers, OutgoingMessage, RecordBatch


@dataclass(frozen=True)
class DeadLetter:
    """A message that could not be read.

    Attributes:
      reason: why.
      topic, partition, offset, timestamp, key, value, headers: of the original message.
      rejected_at: milliseconds since 1970-01-01 UTC.
    """

    reason: str
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    rejected_at: int

    @property
    def coordinates(self) -> str:
        """TOPIC-PARTITION-OFFSET of the original: the key of its dead letter."""
        return f"{self.topic}-{self.partition}-{self.offset}"


def encode_dead_letter(letter: DeadLetter) -> bytes:
    """The letter in Avro's single-object encoding."""
    value = {
        "reason": letter.reason,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp": letter.timestamp,
        "key": letter.key,
        "value": letter.value,
        "headers": [{"name": name, "value": content} for name, content in letter.headers],
        "rejectedAt": letter.rejected_at,
    }
    return bundled_codec("dead_letter").encode(value)


def decode_dead_letter(message: bytes) -> DeadLetter:
    """Raises ValueError when the message is no dead letter."""
    value = bundled_codec("dead_letter").decode(message)
    return DeadLetter(
        value["reason"],
        value["topic"],
        value["partition"],
        value["offset"],
        value["timestamp"],
        value["key"],
        value["value"],
        tuple((header["name"], header["value"]) for header in value["headers"]),
        value["rejectedAt"],
    )


def dead_letter(topic: str, batch: RecordBatch, place: int, reason: str) -> OutgoingMessage:
    """The dead letter of one message of a batch, as a message for the dead-letter topic."""
    letter = DeadLetter(
        reason,
        batch.span.topic,
        batch.span.partition,
        batch.offsets[place],
        batch.timestamps[place],
        batch.keys[place],
        batch.values[place],
        batch.headers[place],
        time.time_ns() // 1_000_000,
    )
    return OutgoingMessage(topic, letter.coordinates.encode(), encode_dead_letter(letter), offset=letter.offset)
