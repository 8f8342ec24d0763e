"""Dead letters: what could not be read, why, and where it came from."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from models.encoding.single_object import bundled_codec
from models.records.batch import Headers, RecordBatch
from models.records.outgoing import OutgoingRun
from models.text import clean_text, encode_text, error_text, repair_text


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
    """The letter in Avro's single-object encoding; its texts are repaired where they cannot be encoded."""
    value = {
        "reason": repair_text(letter.reason),
        "topic": repair_text(letter.topic),
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp": letter.timestamp,
        "key": letter.key,
        "value": letter.value,
        "headers": [{"name": repair_text(name), "value": content} for name, content in letter.headers],
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


def dead_letters(topic: str, batch: RecordBatch, reasons: Mapping[int, str]) -> OutgoingRun:
    """The dead letters of some messages of a batch, in their order.

    Raises nothing that a message can cause: if a letter cannot be encoded, one without key, value and headers names
    that failure too; the record is still at its coordinates.

    Args:
      topic: the dead-letter topic.
      batch: where the messages are.
      reasons: by place of the message.
    """
    letters = [_letter(batch, place, reasons[place]) for place in sorted(reasons)]
    return OutgoingRun(
        topic,
        [encode_text(letter.coordinates) for letter in letters],
        [_encode_or_reduce(letter) for letter in letters],
        [letter.offset for letter in letters],
    )


def _letter(batch: RecordBatch, place: int, reason: str) -> DeadLetter:
    return DeadLetter(
        clean_text(reason),
        batch.span.topic,
        batch.span.partition,
        int(batch.offsets[place]),
        int(batch.timestamps[place]),
        batch.key(place),
        batch.value(place),
        batch.headers.get(place, ()),
        time.time_ns() // 1_000_000,
    )


def _encode_or_reduce(letter: DeadLetter) -> bytes:
    try:
        return encode_dead_letter(letter)
    except Exception as error:  # whatever the message leads fastavro to
        reason = clean_text(f"{letter.reason} (the message is left out, it cannot be encoded: {error_text(error)})")
        return encode_dead_letter(replace(letter, reason=reason, key=None, value=None, headers=()))
