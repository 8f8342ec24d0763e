"""Avro's single-object encoding, which is used for the messages of the application's own topics.

A message consists of the two bytes C3 01, the little-endian CRC-64-AVRO fingerprint of the writer's schema, and the
value (Avro specification 1.12, "Single-object encoding"). The fingerprint distinguishes descriptors from pointers, and
messages with another schema from broken ones.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import fastavro
import fastavro.schema

from models.schemas import ADDED_FIELDS, EARLIER_SCHEMAS, bundled_schema

MARKER = b"\xc3\x01"
HEADER_LENGTH = 10


def fingerprint(schema: dict[str, Any]) -> bytes:
    """CRC-64-AVRO of the schema's parsing canonical form: 8 bytes, little-endian.

    >>> fingerprint({"type": "string"}).hex()
    'c70345637248018f'
    """
    canonical = fastavro.schema.to_parsing_canonical_form(schema)
    return bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))


@dataclass(frozen=True)
class _Edition:
    """A schema as it was at one point in time.

    Attributes:
      header: the header of messages written with it.
      parsed: the schema, parsed by fastavro.
      lacks: the fields that were added later.
      reader: the schema to which its values are resolved; None if they differ only in `lacks`.
    """

    header: bytes
    parsed: Any
    lacks: tuple[str, ...]
    reader: Any = None


class SingleObjectCodec:
    """Encodes and decodes the values of one schema.

    It is thread-safe but cannot be pickled; a DoFn creates it in `setup`.

    Args:
      schema: an Avro record schema, parsed as JSON.
      added: the fields that the schema has gained over time, in that order; all of them are nullable. Messages without
        them can be read as well, and trailing fields that are null in a value are not written.
      earlier: schemas of messages that are only read; Avro's rules resolve their values to `schema`.
    """

    def __init__(
        self, schema: dict[str, Any], added: Sequence[str] = (), earlier: Sequence[dict[str, Any]] = ()
    ) -> None:
        self.name = str(schema["name"])
        # The earliest first.
        self._editions = [_edition(schema, tuple(added[place:])) for place in range(len(added) + 1)]
        newest = self._editions[-1]
        self.header = newest.header
        self._readable = [*self._editions, *(replace(_edition(one, ()), reader=newest.parsed) for one in earlier)]

    def matches(self, message: bytes) -> bool:
        """Whether the header of the message belongs to any edition of this schema."""
        return any(message.startswith(edition.header) for edition in self._readable)

    def encode(self, value: dict[str, Any]) -> bytes:
        """Encodes a value as a message; raises ValueError or TypeError if it does not conform to the schema."""
        fits = (one for one in self._editions if all(value.get(name) is None for name in one.lacks))
        edition = next(fits)  # the newest one lacks nothing
        buffer = io.BytesIO()
        buffer.write(edition.header)
        fastavro.schemaless_writer(buffer, edition.parsed, value)
        return buffer.getvalue()

    def decode(self, message: bytes) -> dict[str, Any]:
        """Decodes a message; raises ValueError if it has another schema, is malformed, or has trailing bytes."""
        edition = next((one for one in self._readable if message.startswith(one.header)), None)
        if edition is None:
            raise ValueError(f"not a {self.name}: its first bytes are {message[:HEADER_LENGTH].hex() or 'none'}")
        buffer = io.BytesIO(message)
        buffer.seek(HEADER_LENGTH)
        try:
            value = fastavro.schemaless_reader(buffer, edition.parsed, edition.reader)
        except Exception as error:  # on broken bytes fastavro raises arbitrary exceptions, such as IndexError
            raise ValueError(f"broken {self.name}: {type(error).__name__}: {error}") from error
        if buffer.tell() != len(message):
            raise ValueError(f"broken {self.name}: {len(message) - buffer.tell()} bytes follow its end")
        if not isinstance(value, dict):
            raise ValueError(f"broken {self.name}: it is not a record")
        return {**value, **dict.fromkeys(edition.lacks)}


def _edition(schema: dict[str, Any], lacks: tuple[str, ...]) -> _Edition:
    fields = [field for field in schema["fields"] if field["name"] not in lacks]
    edition = {**schema, "fields": fields}
    return _Edition(MARKER + fingerprint(edition), fastavro.parse_schema(edition), lacks)


@cache
def bundled_codec(name: str) -> SingleObjectCodec:
    """The codec of a bundled schema, created once per process."""
    earlier = [bundled_schema(one) for one in EARLIER_SCHEMAS.get(name, ())]
    return SingleObjectCodec(bundled_schema(name), ADDED_FIELDS.get(name, ()), earlier)
