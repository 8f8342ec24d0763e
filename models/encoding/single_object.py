"""Avro messages of our own topics, in Avro's single-object encoding.

A message is the two bytes C3 01, the little-endian CRC-64-AVRO fingerprint of the writer's schema, and the value
(Avro specification 1.12, "Single-object encoding"). The fingerprint tells a descriptor from a pointer, and a
message of another schema from a broken one.
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
    """Encodes and decodes the values of one schema. Thread-safe; not picklable: make it in `setup`."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.header = MARKER + fingerprint(schema)
        self.name = str(schema["name"])
        self._schema = fastavro.parse_schema(schema)

    def matches(self, message: bytes) -> bool:
        """Whether the message says that it was written with this schema."""
        return message.startswith(self.header)

    def encode(self, value: dict[str, Any]) -> bytes:
        """Raises ValueError or TypeError when the value does not follow the schema."""
        buffer = io.BytesIO()
        buffer.write(self.header)
        fastavro.schemaless_writer(buffer, self._schema, value)
        return buffer.getvalue()

    def decode(self, message: bytes) -> dict[str, Any]:
        """Raises ValueError when the message has another schema, is cut short, or has bytes to spare."""
        if not self.matches(message):
            raise ValueError(f"not a {self.name}: its first bytes are {message[:HEADER_LENGTH].hex() or 'none'}")
        buffer = io.BytesIO(message)
        buffer.seek(HEADER_LENGTH)
        try:
            value = fastavro.schemaless_reader(buffer, self._schema, None)
        except Exception as error:  # fastavro raises whatever the broken bytes lead it to
            raise ValueError(f"broken {self.name}: {type(error).__name__}: {error}") from error
        if buffer.tell() != len(message):
            raise ValueError(f"broken {self.name}: {len(message) - buffer.tell()} bytes follow its end")
        if not isinstance(value, dict):
            raise ValueError(f"broken {self.name}: it is no record")
        return value


@cache
def bundled_codec(name: str) -> SingleObjectCodec:
    """The codec of a bundled schema, made once a process."""
    return SingleObjectCodec(bundled_schema(name))
