"""Dead letters: messages that could not be read, the reasons, and their coordinates."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from models.encoding.framing import SINGLE_OBJECT, Framing, MessageDecoder
from models.encoding.single_object import HEADER_LENGTH, bundled_codec
from models.records.batch import Headers, RecordBatch
from models.records.outgoing import OutgoingRun
from models.records.registry_frames import framed_id
from models.schemas import bundled_schema
from models.text import clean_text, encode_text, error_text, repair_text


@dataclass(frozen=True)
class DeadLetter:
    """A message that could not be read.

    Attributes:
      reason: the reason, in one line.
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


@dataclass(frozen=True)
class DeadLetterTopic:
    """The topic of dead letters, and how its messages name their schema.

    Attributes:
      name: the name of the topic.
      framing: how its messages name their schema.
    """

    name: str
    framing: Framing = SINGLE_OBJECT

    def register(self) -> None:
        """Registers the schema if the framing needs it, without waiting, so that a refusal is reported at the start.

        Raises:
          SchemaError: the registry refuses the schema, for example as incompatible with the subject's earlier ones.
          RegistryUnreachableError: the registry does not answer.
        """
        self.framing.header(self.name, bundled_schema("dead_letter"), patient=False)

    def frame(self, letter: bytes) -> bytes:
        """Converts a dead letter in Avro's single-object encoding to the framing of the topic.

        Raises:
          SchemaError, RegistryUnreachableError: as in `register`, except that it waits for a registry to answer.
        """
        return self._header + letter[HEADER_LENGTH:]

    @cached_property
    def _header(self) -> bytes:
        return self.framing.header(self.name, bundled_schema("dead_letter"))


def encode_dead_letter(letter: DeadLetter) -> bytes:
    """The letter in Avro's single-object encoding. Characters that cannot be encoded are replaced."""
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


def decode_dead_letter(message: bytes, registered: MessageDecoder | None = None) -> DeadLetter:
    """Decodes a dead letter.

    Args:
      message: a message in Avro's single-object encoding, or framed with the id of its schema in a registry.
      registered: reads messages of the latter kind; None if no registry is known.

    Raises:
      ValueError: the message is not a dead letter, or names a registered schema and `registered` is None.
    """
    number = framed_id(message)
    if number is None:
        return _letter_of(bundled_codec("dead_letter").decode(message))
    if registered is None:
        raise ValueError(f"a DeadLetter may name schema id {number} of a registry; give --schema-registry to read it")
    value = registered(message)
    try:
        return _letter_of(value)
    except (KeyError, TypeError) as error:
        raise ValueError(f"schema id {number} is not that of a DeadLetter") from error


def _letter_of(value: Mapping[str, Any]) -> DeadLetter:
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

    No message can cause an exception. If a letter cannot be encoded, it leaves out the key, value and headers, and its
    reason also names that failure; the record remains at its coordinates.

    Args:
      topic: the dead-letter topic.
      batch: the batch that contains the messages.
      reasons: the reasons, by place of the message.
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
    except Exception as error:  # fastavro raises arbitrary exceptions for some messages
        reason = clean_text(f"{letter.reason} (the message is left out, it cannot be encoded: {error_text(error)})")
        return encode_dead_letter(replace(letter, reason=reason, key=None, value=None, headers=()))
