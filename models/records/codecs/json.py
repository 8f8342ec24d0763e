r"""Format `json`: each message is one JSON object with the fields of an Avro record schema, in UTF-8.

Unions are plain values, absent fields take their defaults, and fields that the schema does not name are ignored. The
result embeds the message unchanged. A text with a lone surrogate (`"\ud800"`) is malformed because it cannot be encoded
as UTF-8, and so is a number that exceeds the range of a double.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import fastavro
import fastavro.validation
import numpy as np
import orjson
import pyarrow as pa

from models.records.batch import Headers
from models.records.codecs.avro_schema import read as read
from models.records.codecs.avro_structs import batch_of, structs_of
from models.records.codecs.avro_types import AvroType, record_type, without_logical_types
from models.records.codecs.base import NO_VALUE, DecodedRecords, Embedding, RecordCodec, decoded_row, malformed
from models.records.record_type import RecordType, Row
from models.text import error_text

# To explain an error, fastavro formats the value at each level of unions, and includes the texts of the levels below:
# 800 levels take 87 seconds. Deeper values are rejected without an explanation.
_EXPLAINED_DEPTH = 16
_BOUNDS = {"int": 1 << 31, "long": 1 << 63}


def make(kind: RecordType) -> RecordCodec:
    """The codec of JSON objects that follow an Avro record schema."""
    return JsonCodec(kind.name, kind.declared)


class JsonCodec:
    """Decodes JSON messages of one record schema.

    Args:
      name: the record type's name.
      declared: the Avro schema, parsed as JSON.
    """

    def __init__(self, name: str, declared: Mapping[str, Any]) -> None:
        self.name = name
        schema = without_logical_types(declared)
        self._parsed = fastavro.parse_schema(schema)
        self._type, self._complete = record_type(schema)
        self._defaults = {field["name"]: field["default"] for field in schema["fields"] if "default" in field}
        self.fields = pa.schema(list(self._type.arrow))
        self.embedding = Embedding("json")

    def decode(self, values: pa.BinaryArray, headers: Mapping[int, Headers] | None = None) -> DecodedRecords:
        """See `RecordCodec`."""
        rows: dict[int, Row] = {}
        errors: dict[int, str] = {}
        messages = values.to_pylist()
        for place, message in enumerate(messages):
            try:
                row = orjson.loads(message) if message is not None else None
            except orjson.JSONDecodeError as error:
                errors[place] = why_malformed(message, error)
                continue
            if isinstance(row, dict):
                rows[place] = row
            else:
                errors[place] = NO_VALUE if message is None else "the JSON is not an object"
        errors.update(self._misfits(rows))
        good = [place for place in rows if place not in errors]
        structs, wrong = structs_of({place: {**self._defaults, **rows[place]} for place in good}, self._type)
        errors.update(wrong)
        places = np.array([place for place in good if place not in wrong], np.int64)
        texts = {place: malformed(self.name, reason) for place, reason in errors.items()}
        columns = batch_of(structs)
        embedded = pa.array([messages[place] for place in places.tolist()], pa.binary())
        return DecodedRecords(columns, places, texts, embedded)

    def _misfits(self, rows: Mapping[int, Row]) -> dict[int, str]:
        """Why some rows do not follow the schema. Whole columns are checked first, and rows if a column fails."""
        suspects = self._suspects(list(rows), list(rows.values())) if self._complete else list(rows)
        errors = {}
        for place in suspects:
            try:
                filled = {**self._defaults, **rows[place]}
                if fastavro.validation.validate(filled, self._parsed, raise_errors=False):
                    continue
                if _is_nested_deeper(filled, _EXPLAINED_DEPTH):
                    errors[place] = "it does not follow the schema, but is nested too deeply to say where"
                    continue
                fastavro.validation.validate(filled, self._parsed, raise_errors=True)
            except Exception as error:  # fastavro raises arbitrary exceptions for some values
                errors[place] = error_text(error)
        return errors

    def _suspects(self, places: list[int], rows: list[Row]) -> list[int]:
        suspects: set[int] = set()
        for name, kind in zip(self._type.names, self._type.children, strict=True):
            default = self._defaults.get(name)
            column = [row.get(name, default) for row in rows]
            if not follows(kind, column):
                suspects.update(
                    place for place, value in zip(places, column, strict=True) if not follows(kind, [value])
                )
        return sorted(suspects)

    def columns_of(self, row: Mapping[str, Any]) -> pa.RecordBatch:
        """See `RecordCodec`."""
        return decoded_row(self, row)

    def encode(self, row: Mapping[str, Any]) -> bytes:
        """See `RecordCodec`."""
        return json.dumps(row).encode()


def _is_nested_deeper(value: Any, depth: int) -> bool:
    """Whether objects and arrays are nested deeper than that."""
    level = [value]
    for _ in range(depth + 1):
        level = [
            item
            for one in level
            if isinstance(one, (dict, list))
            for item in (one.values() if isinstance(one, dict) else one)
        ]
    return bool(level)


_SURROGATE = re.compile("[\ud800-\udfff]")


def why_malformed(message: bytes, error: orjson.JSONDecodeError) -> str:
    r"""The reason why a message cannot be read as JSON: the place of a lone surrogate, or the parser's message.

    Example:
      >>> why_malformed(b'{"a": "\\ud800"}', orjson.JSONDecodeError("no low surrogate", "", 0))
      "field 'a': a lone surrogate (U+D800) cannot be encoded as UTF-8"
    """
    try:
        return _find_surrogate(json.loads(message.decode()), "") or error_text(error)
    except UnicodeDecodeError as other:
        return error_text(other)
    except (ValueError, RecursionError):  # Python's own parser cannot read it either
        return error_text(error)


def _find_surrogate(value: Any, path: str) -> str | None:
    """Names the first text in the value, at any depth, that contains a lone surrogate."""
    if isinstance(value, str):
        found = _SURROGATE.search(value)
        where = path or "the value"
        return f"{where}: a lone surrogate (U+{ord(found[0]):X}) cannot be encoded as UTF-8" if found else None
    if isinstance(value, dict):
        for name, content in value.items():
            inner = f"{path}.{ascii(name)[1:-1]}" if path else f"field {name!a}"
            reason = _find_surrogate(name, f"the name of {inner}") or _find_surrogate(content, inner)
            if reason:
                return reason
    if isinstance(value, list):
        reasons = (_find_surrogate(content, f"{path}[{index}]") for index, content in enumerate(value))
        return next((reason for reason in reasons if reason), None)
    return None


def follows(kind: AvroType, values: Sequence[Any]) -> bool:
    """Whether values certainly follow a type; False for a type that is not simple.

    Example:
      >>> follows(AvroType("long", pa.int64(), "long"), [1, 2])
      True
      >>> follows(AvroType("long", pa.int64(), "long"), [1, True])
      False
    """
    check = _CHECKS.get(kind.kind)
    return check is not None and check(kind, values)


def _follows_whole(kind: AvroType, values: Sequence[Any]) -> bool:
    bound = _BOUNDS[kind.kind]
    return set(map(type, values)) <= {int} and (not values or (min(values) >= -bound and max(values) < bound))


def _follows_number(kind: AvroType, values: Sequence[Any]) -> bool:
    return set(map(type, values)) <= {int, float}


def _follows_text(kind: AvroType, values: Sequence[Any]) -> bool:
    return set(map(type, values)) <= {str}


def _follows_enum(kind: AvroType, values: Sequence[Any]) -> bool:
    return _follows_text(kind, values) and set(values) <= set(kind.names)


def _follows_boolean(kind: AvroType, values: Sequence[Any]) -> bool:
    return set(map(type, values)) <= {bool}


def _follows_array(kind: AvroType, values: Sequence[Any]) -> bool:
    return set(map(type, values)) <= {list} and follows(kind.children[0], list(chain.from_iterable(values)))


def _follows_union(kind: AvroType, values: Sequence[Any]) -> bool:
    if kind.nullable_branch is None:
        return False
    return follows(kind.children[kind.nullable_branch], [value for value in values if value is not None])


_CHECKS: Mapping[str, Callable[[AvroType, Sequence[Any]], bool]] = {
    "int": _follows_whole,
    "long": _follows_whole,
    "float": _follows_number,
    "double": _follows_number,
    "string": _follows_text,
    "enum": _follows_enum,
    "boolean": _follows_boolean,
    "array": _follows_array,
    "union": _follows_union,
}
