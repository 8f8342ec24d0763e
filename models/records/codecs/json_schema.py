"""Format `json-schema`: JSON as written by the JSON Schema serializers of Confluent's clients, with a schema registry.

Messages name their schema as described in `models.records.registry_frames`. That schema must be a JSON Schema in the
registry, but records are not validated against it: they are read like those of the format `json`, with the deployment's
own record schema. A topic may therefore mix schemas. Results embed the JSON of a record unchanged, without the id.

| problem | consequence |
|---|---|
| the registry does not know the id, or the schema is not a JSON Schema | a dead letter that names the id |
| the message has no such frame, or its JSON is malformed or does not follow the record schema | a dead letter |
| the registry does not answer | records wait, and after a while the bundle fails (`models.records.registry`) |

Options of the record type: those of `models.records.registry.registry_options`, and `subject`: the subject under which
a JSON Schema of the records is registered when records are written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import fastavro
import pyarrow as pa

from models.errors import SchemaError
from models.records.batch import Headers
from models.records.codecs.avro_schema import read as read_avro
from models.records.codecs.avro_types import without_logical_types
from models.records.codecs.base import DecodedRecords, RecordCodec, malformed
from models.records.codecs.json import JsonCodec
from models.records.record_type import SUBJECT_OPTION, SUBJECT_PREFIX, RecordFormat, RecordType
from models.records.registered_schemas import RefusedSchema, RegisteredSchemas
from models.records.registry import JSON, RegistrySettings, SchemaKey, SchemaRegistry, registry_at
from models.records.registry_frames import frame_of, unframe

_DRAFT = "http://json-schema.org/draft-07/schema#"
_SIMPLE_TYPES = {
    "null": "null",
    "boolean": "boolean",
    "int": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "bytes": "string",
    "string": "string",
}


def read(name: str, record_format: RecordFormat, options: Mapping[str, str]) -> RecordType:
    """Reads the record type of a bundled name or of a file with an Avro record schema.

    Raises:
      SchemaError: the schema does not exist, is not an Avro record, or was named as a subject.
      OptionsError: the options do not name a registry.
    """
    RegistrySettings.from_options(options)
    if name.startswith(SUBJECT_PREFIX):
        raise SchemaError(
            f"--record-schema {name}: records of the format {record_format} are read with an Avro record schema, but "
            "the registry has JSON Schemas for them; name a file or a bundled schema"
        )
    return read_avro(name, record_format, options)


def make(kind: RecordType) -> RecordCodec:
    """The codec of framed JSON objects that follow an Avro record schema."""
    registry = registry_at(RegistrySettings.from_options(kind.options))
    return JsonSchemaCodec(kind.name, kind.declared, registry, kind.options.get(SUBJECT_OPTION))


class JsonSchemaCodec:
    """Decodes framed JSON messages of any registered JSON Schemas with one record schema.

    Args:
      name: the record type's name.
      declared: the Avro record schema, parsed as JSON.
      registry: knows the schemas that the messages name.
      subject: the subject under which `encode` registers a JSON Schema; by default the record type's name.
      clock: returns a number of seconds that never decreases.
    """

    def __init__(
        self,
        name: str,
        declared: Mapping[str, Any],
        registry: SchemaRegistry,
        subject: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._declared = declared
        self._json = JsonCodec(name, declared)
        self._registry = registry
        self._subject = subject
        self._checked = RegisteredSchemas(self._check, clock)
        self.fields = self._json.fields
        self.embedding = self._json.embedding

    def decode(self, values: pa.BinaryArray, headers: Mapping[int, Headers] | None = None) -> DecodedRecords:
        """See `RecordCodec`.

        Raises:
          RegistryUnreachableError: a schema is still unknown, and the registry has been silent for too long.
        """
        groups, reasons = unframe(values, headers or {})
        skipped: dict[int, int] = {}
        for frame, places in groups:
            checked = self._checked.of(frame.key)
            if isinstance(checked, RefusedSchema):
                reasons.update(dict.fromkeys(places.tolist(), checked.reason))
            else:
                skipped.update(dict.fromkeys(places.tolist(), frame.skipped))
        wanted = pa.array(sorted(skipped), pa.int64())
        messages = values.take(wanted).to_pylist()
        bodies = [message[skipped[place] :] for place, message in zip(wanted.to_pylist(), messages, strict=True)]
        decoded = self._json.decode(pa.array(bodies, pa.binary()))
        places = wanted.to_numpy()
        errors = {place: malformed(self.name, reason) for place, reason in reasons.items()}
        errors.update((int(places[at]), text) for at, text in decoded.errors.items())
        return DecodedRecords(decoded.columns, places[decoded.places], errors, decoded.embedded)

    def _check(self, key: SchemaKey) -> None:
        self._registry.check_type(key, JSON)

    def columns_of(self, row: Mapping[str, Any]) -> pa.RecordBatch:
        """See `RecordCodec`. It registers nothing."""
        return self._json.columns_of(row)

    def encode(self, row: Mapping[str, Any]) -> bytes:
        """See `RecordCodec`. It registers a JSON Schema that the records follow, unless the subject has it."""
        return self._header + self._json.encode(row)

    @cached_property
    def _header(self) -> bytes:
        subject = self._subject or self.name
        return frame_of(self._registry.register(subject, json_schema_of(self._declared), False, JSON))


def json_schema_of(declared: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON Schema of the JSON objects that follow an Avro record schema.

    >>> json_schema_of({"type": "record", "name": "T", "fields": [{"name": "x", "type": "int"}]})["properties"]
    {'x': {'type': 'integer'}}
    """
    parsed: Any = fastavro.parse_schema(without_logical_types(declared))
    definitions: dict[str, Any] = {}
    root = {"$schema": _DRAFT, "title": parsed["name"], **_json_object(parsed, definitions, {parsed["name"]: "#"})}
    return {**root, "definitions": definitions} if definitions else root


def _json_object(record: Any, definitions: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    fields = record["fields"]
    return {
        "type": "object",
        "properties": {field["name"]: _json_type(field["type"], definitions, names) for field in fields},
        "required": [field["name"] for field in fields if "default" not in field],
    }


def _json_type(kind: Any, definitions: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """The JSON Schema of one type. Named types become definitions, so that recursive types terminate.

    Args:
      kind: a parsed Avro type with full names.
      definitions: collects the schemas of named records.
      names: where each named type is defined.
    """
    if isinstance(kind, list):
        return {"anyOf": [_json_type(branch, definitions, names) for branch in kind]}
    if isinstance(kind, str):
        return {"type": _SIMPLE_TYPES[kind]} if kind in _SIMPLE_TYPES else {"$ref": names[kind]}
    if isinstance(kind["type"], (dict, list)) or kind["type"] in _SIMPLE_TYPES:
        return _json_type(kind["type"], definitions, names)
    if kind["type"] == "array":
        return {"type": "array", "items": _json_type(kind["items"], definitions, names)}
    if kind["type"] == "map":
        return {"type": "object", "additionalProperties": _json_type(kind["values"], definitions, names)}
    names[kind["name"]] = f"#/definitions/{kind['name']}"
    definitions[kind["name"]] = _named_type(kind, definitions, names)
    return {"$ref": names[kind["name"]]}


def _named_type(kind: Any, definitions: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    if kind["type"] == "enum":
        return {"enum": list(kind["symbols"])}
    return {"type": "string"} if kind["type"] == "fixed" else _json_object(kind, definitions, names)
