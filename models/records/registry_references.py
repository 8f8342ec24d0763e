"""Turns an Avro schema of a registry that refers to others into one self-contained schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import fastavro
import fastavro.schema

from models.errors import SchemaError
from models.text import error_text

_MOST_REFERENCES = 1_000


def inline_references(found: Any, referred: Callable[[str, int], Any]) -> Any:
    """A registered schema, parsed as JSON, with the types that it refers to defined where they are first used.

    Args:
      found: a `Schema` of confluent-kafka.
      referred: returns the `Schema` of a version of a subject.

    Raises:
      SchemaError: when it, or what it refers to, cannot be read as Avro.
    """
    named: dict[str, Any] = {}
    try:
        if not found.references:
            schema = json.loads(found.schema_str)
            fastavro.parse_schema(schema, {})
            return schema
        _collect(found, referred, named, set())
        parsed = fastavro.parse_schema(json.loads(found.schema_str), named)
    except (ValueError, KeyError, TypeError, RecursionError, fastavro.schema.SchemaParseException) as error:
        raise SchemaError(f"it is not an Avro schema: {error_text(error, 300)}") from error
    return _defined(parsed, named, set())


def _collect(
    found: Any, referred: Callable[[str, int], Any], named: dict[str, Any], seen: set[tuple[str, int]]
) -> None:
    for reference in found.references or ():
        where = (reference.subject, reference.version)
        if where in seen:
            continue
        seen.add(where)
        if len(seen) > _MOST_REFERENCES:
            raise SchemaError(f"it refers to more than {_MOST_REFERENCES} schemas")
        other = referred(*where)
        _collect(other, referred, named, seen)
        fastavro.parse_schema(json.loads(other.schema_str), named)


def _defined(schema: Any, named: dict[str, Any], done: set[str]) -> Any:
    """A parsed schema, in which names are full, with each named type defined at its first use."""
    if isinstance(schema, list):
        return [_defined(branch, named, done) for branch in schema]
    if isinstance(schema, str):
        return _defined(named[schema], named, done) if schema in named and schema not in done else schema
    if schema["type"] in ("record", "error", "enum", "fixed"):
        done.add(schema["name"])
    plain = {name: value for name, value in schema.items() if not name.startswith("__")}
    for key in ("items", "values"):
        if key in plain:
            plain[key] = _defined(plain[key], named, done)
    if isinstance(plain["type"], (dict, list)) or plain["type"] in named:
        plain["type"] = _defined(plain["type"], named, done)
    if "fields" in plain:
        plain["fields"] = [{**one, "type": _defined(one["type"], named, done)} for one in plain["fields"]]
    return plain
