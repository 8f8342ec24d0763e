"""The Avro schema of the records, and the decoding of lists of them."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import fastavro
import fastavro.validation

from models.errors import RecordDecodeError, SchemaError
from models.schemas import BUNDLED_RECORDS, bundled_schema

RecordFormat = Literal["avro", "json"]
Row = dict[str, Any]

DATA_TYPE_FIELD = "dataType"


@dataclass(frozen=True)
class Decoded:
    """The records of a list that could be decoded, and why the others could not.

    Attributes:
      rows: one mapping of field to value a decoded record.
      indices: where in the list each row came from, ascending.
      errors: the reason by index of each record that is malformed.
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
        with the schema's fields, unions as plain values, absent fields taking their defaults.
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
                errors[index] = str(error)
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
                raise RecordDecodeError(f"no {name} record: {type(error).__name__}: {error}") from error
            if buffer.tell() != len(value):
                raise RecordDecodeError(f"no {name} record: {len(value) - buffer.tell()} bytes follow its end")
            return row

        return read

    def _json_reader(self) -> Callable[[bytes | None], Row]:
        def read(value: bytes | None) -> Row:
            if value is None:
                raise RecordDecodeError(f"no {self.name} record: the message has no value")
            try:
                row = json.loads(value, parse_float=_finite, parse_constant=_refuse_constant)
                if not isinstance(row, dict):
                    raise RecordDecodeError(f"no {self.name} record: the JSON is no object")
                filled = {**self._defaults, **row}
                fastavro.validation.validate(filled, self.parsed, raise_errors=True)
            except (ValueError, RecursionError, fastavro.validation.ValidationError) as error:
                reason = " ".join(str(error).split())
                raise RecordDecodeError(f"no {self.name} record: {type(error).__name__}: {reason}") from error
            return filled

        return read

    @cached_property
    def _defaults(self) -> Row:
        return {field["name"]: field["default"] for field in self.declared["fields"] if "default" in field}

    def encode(self, row: Row) -> bytes:
        """One record as a message in this schema's format; for generators and tests."""
        if self.format == "json":
            return json.dumps(row).encode()
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, self.parsed, row)
        return buffer.getvalue()


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
