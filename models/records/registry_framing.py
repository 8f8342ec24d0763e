"""Writes and reads the application's own messages in the wire format of Confluent's clients."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import fastavro

from models.encoding.framing import MessageDecoder
from models.errors import RegistryUnreachableError, SchemaError
from models.records.registry import RegistrySettings, SchemaRegistry, registry_at
from models.records.registry_frames import ID_FRAME, frame_of, framed_id
from models.text import error_text

_MOST_SCHEMAS = 1_000


@dataclass(frozen=True)
class RegistryFraming:
    """Frames messages as other clients read them, and registers their schemas as `TOPIC-value`.

    Attributes:
      settings: where the registry is.
    """

    settings: RegistrySettings

    @property
    def registry(self) -> SchemaRegistry:
        """The registry."""
        return registry_at(self.settings)

    def header(self, topic: str, schema: Mapping[str, Any], patient: bool = True) -> bytes:
        """See `Framing`."""
        return frame_of(self.registry.register(f"{topic}-value", schema, patient))

    def decoder(self, schema: Mapping[str, Any]) -> MessageDecoder:
        """See `Framing`; a message is read with the schema that it names."""
        return partial(_decode_framed, lru_cache(_MOST_SCHEMAS)(self._parsed))

    def _parsed(self, number: int) -> Any:
        return fastavro.parse_schema(self.registry.schema(number, patient=False), {})


def _decode_framed(schema_of: Callable[[int], Any], message: bytes) -> dict[str, Any]:
    """The value of a message that is framed with a schema id."""
    number = framed_id(message)
    if number is None:
        raise ValueError(f"not framed with a schema id: its first bytes are {message[:ID_FRAME].hex() or 'none'}")
    buffer = io.BytesIO(message)
    buffer.seek(ID_FRAME)
    try:
        value = fastavro.schemaless_reader(buffer, schema_of(number), None)
    except RegistryUnreachableError:
        raise
    except SchemaError as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # on broken bytes fastavro raises arbitrary exceptions
        raise ValueError(f"broken message of schema id {number}: {error_text(error)}") from error
    if buffer.tell() != len(message):
        raise ValueError(f"broken message of schema id {number}: {len(message) - buffer.tell()} bytes follow its end")
    if not isinstance(value, dict):
        raise ValueError(f"schema id {number} is not a record")
    return value
