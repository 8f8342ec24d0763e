"""Resolves messages from the writer's schema to the reader's schema, by Avro's rules.

Messages are rewritten as bytes: each becomes what the writer would have written with the reader's schema, which is then
decoded to columns and embedded in the result. (Avro specification 1.12, "Schema Resolution".)

If two record schemas differ only in their fields, the bytes of each field are copied: removed fields are left out,
added fields take their default, and fields may change places. An int is encoded like a long and a string like bytes, so
these are copied unchanged, while other numbers are converted to floats. fastavro resolves everything else, one message
at a time.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fastavro
import fastavro.schema
import numpy as np
import pyarrow as pa

from models.errors import SchemaError
from models.records.codecs.avro_columns import ColumnReader, FieldBytes
from models.records.codecs.avro_types import AvroType, record_type, without_logical_types
from models.text import error_text

_FLOATS = {"float": "<f4", "double": "<f8"}
# Types with the same encoding.
_SAME_BYTES = {("int", "long"), ("string", "bytes"), ("bytes", "string")}
_WIDENED = {("int", "float"), ("int", "double"), ("long", "float"), ("long", "double"), ("float", "double")}
_REASON_LENGTH = 300


class AvroResolution:
    """Rewrites messages of one schema as messages of another. Thread-safe.

    Args:
      writer: the schema that the messages were written with, parsed from JSON.
      reader: the record schema to which they are resolved.

    Raises:
      SchemaError: when the writer's schema is not a record.
    """

    def __init__(self, writer: Any, reader: Mapping[str, Any]) -> None:
        if not isinstance(writer, Mapping) or writer.get("type") != "record":
            raise SchemaError("the writer's schema is not a record")
        self._writer = fastavro.parse_schema(without_logical_types(writer))
        self._reader = fastavro.parse_schema(without_logical_types(reader))
        _set_defaults(self._reader, self._reader.get("__named_schemas", {}))
        writes, written_whole = record_type(without_logical_types(writer))
        reads, read_whole = record_type(without_logical_types(reader))
        self._pieces = _plan(writes, reads, self._reader) if written_whole and read_whole else None
        self._columns = ColumnReader(writes)

    def rewrite(self, values: pa.BinaryArray) -> tuple[list[bytes | None], dict[int, str]]:
        """Rewrites messages, none of which may be null.

        Returns:
          The messages in the reader's schema, None for those that cannot be rewritten, and the reasons by place.
        """
        if self._pieces is None:
            return self._rewrite_singly(values, range(len(values)))
        split = self._columns.split(values)
        rewritten: list[bytes | None] = list(_spliced(split, self._pieces, len(values)))
        singly, errors = self._rewrite_singly(values, sorted(split.deferred))
        for place, value in zip(sorted(split.deferred), singly, strict=True):
            rewritten[place] = value
        for place in split.errors:
            rewritten[place] = None
        return rewritten, {**split.errors, **errors}

    def _rewrite_singly(
        self, values: pa.BinaryArray, places: Sequence[int]
    ) -> tuple[list[bytes | None], dict[int, str]]:
        rewritten: list[bytes | None] = []
        errors = {}
        for place in places:
            try:
                rewritten.append(self.rewrite_one(values[place].as_py()))
            except ValueError as error:
                rewritten.append(None)
                errors[place] = str(error)
        return rewritten, errors

    def rewrite_one(self, value: bytes) -> bytes:
        """Rewrites one message with fastavro.

        Raises:
          ValueError: when it is malformed, or does not resolve to the reader's schema.
        """
        source, target = io.BytesIO(value), io.BytesIO()
        try:
            # The names of types distinguish branches of a union that hold the same values.
            row = fastavro.schemaless_reader(
                source, self._writer, self._reader, return_record_name=True, return_named_type=True
            )
            if source.tell() != len(value):
                raise ValueError(f"{len(value) - source.tell()} bytes follow its end")
            fastavro.schemaless_writer(target, self._reader, row)
        except Exception as error:  # on broken bytes fastavro raises arbitrary exceptions
            raise ValueError(error_text(error, _REASON_LENGTH)) from error
        return target.getvalue()


@dataclass(frozen=True)
class _Copied:
    """Fields of the writer that are consecutive in both schemas, from `first` up to but excluding `end`."""

    first: int
    end: int


@dataclass(frozen=True)
class _Widened:
    """A number of the writer that becomes a float or double."""

    place: int
    kind: str


_Piece = bytes | _Copied | _Widened


def _plan(writes: AvroType, reads: AvroType, reader: Any) -> list[_Piece] | None:
    """How parts of the writer's message make up the reader's; None if they cannot simply be copied."""
    if writes.name != reads.name:
        return None
    pieces: list[_Piece] = []
    for declared, name, wanted in zip(reader["fields"], reads.names, reads.children, strict=True):
        if name in writes.names:
            piece = _taken(writes.names.index(name), writes.children[writes.names.index(name)], wanted)
        else:
            piece = _default_bytes(declared, reader)
        if piece is None:
            return None
        last = pieces[-1] if pieces else None
        if isinstance(piece, _Copied) and isinstance(last, _Copied) and last.end == piece.first:
            pieces[-1] = _Copied(last.first, piece.end)
        elif isinstance(piece, bytes) and isinstance(last, bytes):
            pieces[-1] = last + piece
        else:
            pieces.append(piece)
    return pieces


def _taken(place: int, written: AvroType, wanted: AvroType) -> _Piece | None:
    """The piece for a field that both schemas have; None if it cannot simply be copied."""
    if written == wanted and not _holds_union(written):
        return _Copied(place, place + 1)
    if (written.kind, wanted.kind) in _SAME_BYTES:
        return _Copied(place, place + 1)
    return _Widened(place, wanted.kind) if (written.kind, wanted.kind) in _WIDENED else None


def _holds_union(kind: AvroType) -> bool:
    """Whether the type contains a union of several types at any depth."""
    return bool(pa.types.is_union(kind.arrow)) or any(map(_holds_union, kind.children))


def _default_bytes(declared: Mapping[str, Any], reader: Any) -> bytes | None:
    """The bytes of a field that the writer lacks; None if it has no default or the writer may use another name."""
    if "default" not in declared or declared.get("aliases"):
        return None
    buffer = io.BytesIO()
    # The reader's parsed schema with only this field: if it were parsed again, its defaults would be read as JSON.
    alone = {**reader, "fields": [declared]}
    try:
        fastavro.schemaless_writer(buffer, alone, {declared["name"]: declared["default"]})
    except Exception:  # the default does not fit its type: resolution reports that for the records that need it
        return None
    return buffer.getvalue()


def _spliced(split: FieldBytes, pieces: Sequence[_Piece], count: int) -> list[bytes]:
    """The composed messages; the bytes are meaningless for malformed and deferred messages."""
    columns = [_piece_of_each(piece, split, count) for piece in pieces]
    if len(columns) == 1:
        return columns[0]
    return [b"".join(parts) for parts in zip(*columns, strict=True)] if columns else [b""] * count


def _piece_of_each(piece: _Piece, split: FieldBytes, count: int) -> list[bytes]:
    if isinstance(piece, bytes):
        return [piece] * count
    if isinstance(piece, _Copied):
        begins, ends = split.bounds[piece.first].tolist(), split.bounds[piece.end].tolist()
        return [split.content[begin:end] for begin, end in zip(begins, ends, strict=True)]
    # Converted to a double first, as other readers do; a long that becomes a float is therefore rounded twice.
    with np.errstate(over="ignore"):
        numbers = split.columns[piece.place].to_numpy(zero_copy_only=False).astype("<f8").astype(_FLOATS[piece.kind])
    content, width = numbers.tobytes(), numbers.itemsize
    return [content[at : at + width] for at in range(0, count * width, width)]


def _set_defaults(schema: Any, named: Mapping[str, Any]) -> None:
    """Replaces the JSON defaults of a parsed schema with Python values; JSON represents bytes as text."""
    for one in [schema, *named.values()]:
        _set_defaults_within(one, named)


def _set_defaults_within(schema: Any, named: Mapping[str, Any]) -> None:
    if isinstance(schema, list):
        for branch in schema:
            _set_defaults_within(branch, named)
    if not isinstance(schema, dict):
        return
    for key in ("items", "values", "type"):
        _set_defaults_within(schema.get(key), named)
    for one in schema.get("fields", ()):
        _set_defaults_within(one["type"], named)
        if "default" in one:
            one["default"] = _default_value(one["type"], one["default"], named)


def _default_value(schema: Any, default: Any, named: Mapping[str, Any]) -> Any:
    """A default as a value of its type, or of the first branch of a union."""
    if isinstance(schema, list):
        return _default_value(schema[0], default, named) if schema else default
    if isinstance(schema, str) and schema in named:
        schema = named[schema]
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(kind, (dict, list)):
        return _default_value(kind, default, named)
    if kind in ("bytes", "fixed") and isinstance(default, str):
        return default.encode("latin-1")
    if kind == "array" and isinstance(default, list):
        return [_default_value(schema["items"], one, named) for one in default]
    if kind == "map" and isinstance(default, dict):
        return {name: _default_value(schema["values"], one, named) for name, one in default.items()}
    if kind in ("record", "error") and isinstance(default, dict):
        given = {one["name"]: one["default"] for one in schema["fields"] if "default" in one}
        kinds = {one["name"]: one["type"] for one in schema["fields"]}
        return {
            name: _default_value(kinds[name], one, named) if name in kinds else one
            for name, one in {**given, **default}.items()
        }
    return default


def same_encoding(writer: Any, reader: Mapping[str, Any]) -> bool:
    """Whether two schemas have the same binary encoding, which means equal parsing canonical forms."""
    return bool(
        fastavro.schema.to_parsing_canonical_form(without_logical_types(writer))
        == fastavro.schema.to_parsing_canonical_form(without_logical_types(reader))
    )
