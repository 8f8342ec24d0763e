"""The Avro schema of the records, and the decoding of lists of them."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import fastavro
import fastavro.validation

from models.errors import RecordDecodeError, SchemaError
from models.schemas import BUNDLED_RECORDS, bundled_schema
from models.text import clean_text, error_text

RecordFormat = Literal["avro", "json"]
Row = dict[str, Any]

DATA_TYPE_FIELD = "dataType"


@dataclass(frozen=True)
class Decoded:
    """The records of a list that could be decoded, and why the others could not.

    Attributes:
      rows: one mapping of field to value a decoded record.
      indices: where in the list each row came from, ascending.
      errors: the reason by index of each record that is malformed; one line each (`models.text.clean_text`).
    """

    rows: list[Row]
    indices: list[int]
    errors: dict[int, str]


@dataclass(frozen=True)
class RecordSchema:
    """A record schema and the format in which its records come.

    Attributes:
      name: the bundled name, or the schema's own name.
      text: the schema as JSON.
      format: avro: each message is one value in Avro's binary encoding, with no header; json: one JSON object
        with the schema's fields, unions as plain values, absent fields taking their defaults, or null where that
        is allowed and there is no default.
    """

    name: str
    text: str
    format: RecordFormat = "avro"

    @classmethod
    def named(cls, name: str, record_format: RecordFormat = "avro") -> RecordSchema:
        """The schema of a bundled name, or of a file.

        Raises:
          SchemaError: when it is neither, or no Avro record schema.
        """
        if name in BUNDLED_RECORDS:
            return cls(name, json.dumps(bundled_schema(name)), record_format)
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            known = ", ".join(BUNDLED_RECORDS)
            raise SchemaError(f"record schema {name!r} is no readable file and no bundled name ({known})") from error
        schema = cls._checked(name, text)
        return cls(str(schema["name"]), text, record_format)

    @staticmethod
    def _checked(name: str, text: str) -> dict[str, Any]:
        try:
            schema = json.loads(text)
            fastavro.parse_schema(schema)
        except (ValueError, KeyError, TypeError, fastavro.schema.SchemaParseException) as error:
            raise SchemaError(f"record schema {name!r} is no Avro schema: {type(error).__name__}: {error}") from error
        if not isinstance(schema, dict) or schema.get("type") != "record" or "fields" not in schema:
            raise SchemaError(f"record schema {name!r} is no Avro record: its type must be 'record', with fields")
        return schema

    @cached_property
    def declared(self) -> dict[str, Any]:
        """The schema as it was given."""
        schema: dict[str, Any] = json.loads(self.text)
        return schema

    @cached_property
    def parsed(self) -> Any:
        """The schema as fastavro wants it, without logical types: a model wants the numbers below them."""
        return fastavro.parse_schema(_without_logical_types(self.declared))

    @cached_property
    def fields(self) -> dict[str, Any]:
        """Field name to Avro type, as declared."""
        return {field["name"]: field["type"] for field in self.declared["fields"]}

    def may_score(self, data_type: str) -> bool:
        """Whether there can be records of a data type: without the field `dataType`, only of the schema's name."""
        return DATA_TYPE_FIELD in self.fields or data_type == self.name

    def data_types(self, rows: Sequence[Row]) -> list[str]:
        """The data type of each record: its field `dataType` where that holds a text, else the schema's name."""
        if DATA_TYPE_FIELD not in self.fields:
            return [self.name] * len(rows)
        found = [row[DATA_TYPE_FIELD] for row in rows]
        return [one if isinstance(one, str) and one else self.name for one in found]

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Decodes the values of a list of messages; a malformed one spoils no other."""
        read = self._avro_reader() if self.format == "avro" else self._json_reader()
        rows: list[Row] = []
        indices: list[int] = []
        errors: dict[int, str] = {}
        for index, value in enumerate(values):
            try:
                rows.append(read(value))
            except RecordDecodeError as error:
                errors[index] = clean_text(str(error))
            else:
                indices.append(index)
        return Decoded(rows, indices, errors)

    def _avro_reader(self) -> Callable[[bytes | None], Row]:
        parsed, name, reader = self.parsed, self.name, fastavro.schemaless_reader

        def read(value: bytes | None) -> Row:
            if value is None:
                raise RecordDecodeError(f"no {name} record: the message has no value")
            buffer = io.BytesIO(value)
            try:
                row: Row = reader(buffer, parsed, None)
            except Exception as error:  # fastavro raises whatever the broken bytes lead it to
                raise RecordDecodeError(f"no {name} record: {error_text(error)}") from error
            if buffer.tell() != len(value):
                raise RecordDecodeError(f"no {name} record: {len(value) - buffer.tell()} bytes follow its end")
            return row

        return read

    def _json_reader(self) -> Callable[[bytes | None], Row]:
        def read(value: bytes | None) -> Row:
            if value is None:
                raise RecordDecodeError(f"no {self.name} record: the message has no value")
            try:
                row = _read_json(value)
                if not isinstance(row, dict):
                    raise RecordDecodeError("the JSON is no object")
                filled: Row = {**self._defaults, **row}
                fastavro.validation.validate(filled, self.parsed, raise_errors=True)
            except RecordDecodeError as error:
                raise RecordDecodeError(f"no {self.name} record: {error}") from error
            except Exception as error:  # json and fastavro raise whatever the value leads them to
                raise RecordDecodeError(f"no {self.name} record: {error_text(error)}") from error
            return filled

        return read

    @cached_property
    def _defaults(self) -> Row:
        fields = [field for field in self.declared["fields"] if "default" in field or _is_nullable(field["type"])]
        return {field["name"]: field.get("default") for field in fields}

    def encode(self, row: Row) -> bytes:
        """One record as a message in this schema's format; for generators and tests."""
        if self.format == "json":
            return json.dumps(row).encode()
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, self.parsed, row)
        return buffer.getvalue()


def _is_nullable(kind: Any) -> bool:
    return kind == "null" or (isinstance(kind, list) and "null" in kind)


# A lone surrogate can come in by an escape only: the text itself is decoded strictly.
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def _read_json(value: bytes) -> Any:
    """The JSON value of a message.

    Raises:
      ValueError: when it is not JSON.
      RecordDecodeError: when a text in it could be written neither into a result nor into a model's input.
    """
    text = value.decode(json.detect_encoding(value))
    content = json.loads(text, parse_float=_finite, parse_constant=_refuse_constant)
    if _ESCAPED_SURROGATE.search(text):
        _refuse_surrogates(content, "")
    return content


def _refuse_surrogates(value: Any, path: str) -> None:
    """Raises RecordDecodeError when a text in the value, at whatever depth, holds a lone surrogate."""
    if isinstance(value, str):
        found = _SURROGATE.search(value)
        if found:
            where = path or "the value"
            raise RecordDecodeError(f"{where}: a lone surrogate (U+{ord(found[0]):X}) cannot be encoded as UTF-8")
    elif isinstance(value, dict):
        for name, content in value.items():
            inner = f"{path}.{ascii(name)[1:-1]}" if path else f"field {name!a}"
            _refuse_surrogates(name, f"the name of {inner}")
            _refuse_surrogates(content, inner)
    elif isinstance(value, list):
        for index, content in enumerate(value):
            _refuse_surrogates(content, f"{path}[{index}]")


def _finite(text: str) -> float:
    """A number as Python reads it; 1e999 would be infinite, which no JSON can say again."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} does not fit a double")
    return number


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_logical_types(branch) for branch in schema]
    if isinstance(schema, dict):
        return {name: _without_logical_types(value) for name, value in schema.items() if name != "logicalType"}
    return schema
