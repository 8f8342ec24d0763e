"""Avro record schemas by name: bundled with the application, or in a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fastavro

from models.errors import SchemaError
from models.records.record_type import RecordFormat, RecordType
from models.schemas import BUNDLED_RECORDS, bundled_schema


def read(name: str, record_format: RecordFormat, options: Mapping[str, str]) -> RecordType:
    """Reads the record type of a bundled name or of a file.

    Raises:
      SchemaError: the name is neither, or the file does not contain an Avro record schema.
    """
    if name in BUNDLED_RECORDS:
        return RecordType(name, json.dumps(bundled_schema(name)), record_format, options)
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(BUNDLED_RECORDS)
        raise SchemaError(f"record schema {name!r} is neither a readable file nor a bundled name ({known})") from error
    return RecordType(str(checked_schema(name, text)["name"]), text, record_format, options)


def checked_schema(name: str, text: str) -> dict[str, Any]:
    """Parses an Avro record schema from its JSON text.

    Raises:
      SchemaError: the text is not an Avro record schema; the message names the file.
    """
    try:
        schema = json.loads(text)
        fastavro.parse_schema(schema)
    except (ValueError, KeyError, TypeError, fastavro.schema.SchemaParseException) as error:
        raise SchemaError(f"record schema {name!r} is not an Avro schema: {type(error).__name__}: {error}") from error
    if not isinstance(schema, dict) or schema.get("type") != "record" or "fields" not in schema:
        raise SchemaError(f"record schema {name!r} is not an Avro record: its type must be 'record', with fields")
    return schema
