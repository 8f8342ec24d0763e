"""Framings: how the header of an Avro message names the schema that the value was written with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from models.encoding.single_object import SingleObjectCodec

MessageDecoder = Callable[[bytes], dict[str, Any]]


class Framing(Protocol):
    """Puts a header in front of values, and reads such messages. Implementations are plain values that pickle."""

    def header(self, topic: str, schema: Mapping[str, Any], patient: bool = True) -> bytes:
        """The bytes in front of each value of that schema on a topic.

        It may ask a registry and register the schema there. Call it only once, and not where every error is attributed
        to a record.

        Args:
          topic: the topic of the messages.
          schema: the schema of the values, parsed from JSON.
          patient: whether to wait for a registry that does not answer, as long as its settings say; otherwise the call
            fails at once.

        Raises:
          ServingError: the schema cannot be registered.
        """

    def decoder(self, schema: Mapping[str, Any]) -> MessageDecoder:
        """A function that returns the value of a message, and raises ValueError for a malformed message.

        Args:
          schema: the expected schema; if the header names the writer's schema, that one is used instead.
        """


@dataclass(frozen=True)
class SingleObjectFraming:
    """Avro's single-object encoding: the header holds the schema's fingerprint."""

    def header(self, topic: str, schema: Mapping[str, Any], patient: bool = True) -> bytes:
        """See `Framing`."""
        return SingleObjectCodec(dict(schema)).header

    def decoder(self, schema: Mapping[str, Any]) -> MessageDecoder:
        """See `Framing`."""
        return SingleObjectCodec(dict(schema)).decode


SINGLE_OBJECT = SingleObjectFraming()
