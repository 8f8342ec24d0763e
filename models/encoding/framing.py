"""How an Avro message of ours names the schema that it was written with: the bytes before its value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from models.encoding.single_object import SingleObjectCodec

MessageDecoder = Callable[[bytes], dict[str, Any]]


class Framing(Protocol):
    """Puts a header before values, and reads values behind it. Implementations are plain values and pickle."""

    def header(self, topic: str, schema: Mapping[str, Any], patient: bool = True) -> bytes:
        """What stands before each value of that schema on a topic.

        It may ask a registry, and register the schema there: call it once, and not where any error is taken for one of
        a record.

        Args:
          topic: where the messages go.
          schema: of the values, as JSON has it.
          patient: wait for a registry that does not answer, for as long as its settings say; otherwise fail at once.

        Raises:
          ServingError: when the schema cannot be registered.
        """

    def decoder(self, schema: Mapping[str, Any]) -> MessageDecoder:
        """Reads messages: it gives a message's value, and raises ValueError for one that is malformed.

        Args:
          schema: that is expected; where the header names the writer's schema, that one is used.
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
