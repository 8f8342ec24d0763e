"""Avro's single-object encoding, which the messages of the application's own topics use.

A message consists of the two bytes C3 01, the little-endian CRC-64-AVRO fingerprint of the writer's schema, and the
value (Avro specification 1.12, "Single-object encoding"). The fingerprint distinguishes a descriptor from a pointer,
and a message of another schema from a broken one.
"""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import fastavro
import fastavro.schema

from models.schemas import bundled_schema

MARKER = b"\xc3\x01"
HEADER_LENGTH = 10


def fingerprint(schema: dict[str, Any]) -> bytes:
    """CRC-64-AVRO of the schema's parsing canonical form: 8 bytes, little-endian.

    >>> fingerprint({"type": "string"}).hex()
    'c70345637248018f'
    """
    canonical = fastavro.schema.to_parsing_canonical_form(schema)
    return bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))


class SingleObjectCodec:
    """Encodes and decodes the values of one schema.

    It is thread-safe but cannot be pickled; a DoFn creates it in `setup`.

    Args:
      schema: an Avro record schema, parsed as JSON.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self.header = MARKER + fingerprint(schema)
        self.name = str(schema["name"])
        self._schema = fastavro.parse_schema(schema)

    def matches(self, message: bytes) -> bool:
        """Whether the header of the message is that of this schema."""
        return message.startswith(self.header)

    def encode(self, value: dict[str, Any]) -> bytes:
        """The value as a message; raises ValueError or TypeError when it does not conform to the schema."""
        buffer = io.BytesIO()
        buffer.write(self.header)
        fastavro.schemaless_writer(buffer, self._schema, value)
        return buffer.getvalue()

    def decode(self, message: bytes) -> dict[str, Any]:
        """The value of a message; raises ValueError when its schema is another, or it is truncated or too long."""
        if not self.matches(message):
            raise ValueError(f"not a {self.name}: its first bytes are {message[:HEADER_LENGTH].hex() or 'none'}")
        buffer = io.BytesIO(message)
        buffer.seek(HEADER_LENGTH)
        try:
            value = fastavro.schemaless_reader(buffer, self._schema, None)
        except Exception as error:  # on broken bytes fastavro raises arbitrary exceptions, such as IndexError
            raise ValueError(f"broken {self.name}: {type(error).__name__}: {error}") from error
        if buffer.tell() != len(message):
            raise ValueError(f"broken {self.name}: {len(message) - buffer.tell()} bytes follow its end")
        if not isinstance(value, dict):
            raise ValueError(f"broken {self.name}: it is not a record")
        return value


@cache
def bundled_codec(name: str) -> SingleObjectCodec:
    """The codec of a bundled schema, created once per process."""
    return SingleObjectCodec(bundled_schema(name))
