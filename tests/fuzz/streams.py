"""Streams of random messages for each record format: a new format is one function and one line in `STREAMS`.

Each function takes the source of all randomness, and the address of a real schema registry for formats that need one.
The registry assigns the ids, so a seed repeats a run exactly only with an empty registry.
"""

from __future__ import annotations

import base64
import json
import random
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import descriptor_pb2, text_format

from models.records.codecs.json_schema import json_schema_of
from models.records.record_type import RecordType
from models.records.registry import AVRO, JSON, RegistrySettings, registry_at, registry_options
from models.records.registry_frames import frame_of
from tests.fuzz.avro_messages import MessageMaker, SchemaMaker

Stream = tuple[RecordType, Callable[[], bytes]]
"""A record type, and what makes messages that follow it."""


def avro_stream(chance: random.Random, registry: str) -> Stream:
    """Messages of a random Avro schema; one in four schemas contains itself."""
    schema = SchemaMaker(chance, recursive=chance.random() < 0.25).record(chance.choice((1, 2, 3)))
    _name_a_data_type(chance, schema)
    kind = RecordType("Test", json.dumps(schema), "avro")
    return kind, MessageMaker(chance, schema, chance.choice((1, 3, 3, 20))).message


def json_stream(chance: random.Random, registry: str) -> Stream:
    """JSON objects of a random schema of simple types; some values are not of their type."""
    types: list[Any] = ["long", "int", "double", "float", "string", "boolean", ["null", "long"], ["int", "string"]]
    types += [{"type": "array", "items": one} for one in types[:5]]
    types.append({"type": "map", "values": "double"})
    types.append({"type": "enum", "name": "E", "symbols": ["A", "B"]})
    fields = [{"name": f"f{number}", "type": kind} for number, kind in enumerate(chance.sample(types, 3))]
    schema: dict[str, Any] = {"type": "record", "name": "Test", "fields": fields}
    _name_a_data_type(chance, schema)
    wrong = chance.choice((0.0, 0.01, 0.3))

    def message() -> bytes:
        row = {
            one["name"]: _json_value(chance, 2) if chance.random() < wrong else _json_of(chance, one["type"])
            for one in schema["fields"]
            if chance.random() < 0.995
        }
        return json.dumps(row, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")

    return RecordType("Test", json.dumps(schema), "json"), message


def tf_example_stream(chance: random.Random, registry: str) -> Stream:
    """Recommender records as tf.Examples."""
    kind = RecordType.named("recommender", "tf-example")

    def message() -> bytes:
        row = {
            "user": chance.randrange(2**40),
            "products": [chance.randrange(300) for _ in range(chance.randrange(12))],
            "dataType": chance.choice(("", "Test", "é")),
        }
        return kind.codec.encode(row)

    return kind, message


def protobuf_stream(chance: random.Random, registry: str) -> Stream:
    """Messages of one schema with nested, repeated and optional fields; some fields have the wrong wire type."""
    files = text_format.Parse(_PROTOBUF, descriptor_pb2.FileDescriptorSet()).SerializeToString()
    declared = {"message": "Test", "files": base64.b64encode(files).decode()}
    kind = RecordType("Test", json.dumps(declared), "protobuf")

    def message() -> bytes:
        row: dict[str, Any] = {
            "x": chance.choice(_OF_TYPE["long"]),
            "inner": chance.choice((None, {}, {"values": [0.5] * chance.randrange(4)})),
            "texts": [chance.choice(_OF_TYPE["string"]) for _ in range(chance.randrange(4))],
            "dataType": chance.choice(("", "Test", "é")),
        }
        return kind.codec.encode(row) + (b"\x0a\x01a" if chance.random() < 0.01 else b"")

    return kind, message


_PROTOBUF = """
file { name: "test.proto" syntax: "proto3"
  message_type { name: "Inner" field { name: "values" number: 1 label: LABEL_REPEATED type: TYPE_DOUBLE } }
  message_type { name: "Test"
    field { name: "x" number: 1 label: LABEL_OPTIONAL type: TYPE_INT64 }
    field { name: "inner" number: 2 label: LABEL_OPTIONAL type_name: ".Inner" type: TYPE_MESSAGE }
    field { name: "texts" number: 3 label: LABEL_REPEATED type: TYPE_STRING }
    field { name: "dataType" number: 4 label: LABEL_OPTIONAL type: TYPE_STRING } } }
"""


def confluent_avro_stream(chance: random.Random, registry: str) -> Stream:
    """Avro messages of several registered schemas, not all of which can be resolved to the reader's."""
    # Not recursive: Apicurio answers with status 500 to a schema that contains itself in a map.
    schema = SchemaMaker(chance).record(chance.choice((1, 2)))
    _name_a_data_type(chance, schema)
    kind = RecordType("Test", json.dumps(schema), "confluent-avro", registry_options(registry, {}))
    extra = {"name": "extra", "type": chance.choice(("string", "long", {"type": "array", "items": "double"}))}
    writers = [schema, {**schema, "fields": [extra, *schema["fields"]]}]
    if len(schema["fields"]) > 1:  # the first field may define a type that others use; the last one does not
        writers.append({**schema, "fields": schema["fields"][:-1]})
    makers = [MessageMaker(chance, writer, chance.choice((1, 3))).message for writer in writers]
    frames = [_registered(registry, writer, AVRO) for writer in writers]

    def message() -> bytes:
        which = chance.choices(range(len(writers)), (8, 2, 1)[: len(writers)])[0]
        return frames[which] + makers[which]()

    return kind, message


def json_schema_stream(chance: random.Random, registry: str) -> Stream:
    """Like `json_stream`, with the ids of two JSON Schemas; some messages name an Avro schema."""
    plain, make = json_stream(chance, registry)
    kind = RecordType("Test", plain.text, "json-schema", registry_options(registry, {}))
    frames = [
        _registered(registry, json_schema_of(plain.declared), JSON),
        _registered(registry, {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}, JSON),
        _registered(registry, plain.declared, AVRO),
    ]
    return kind, lambda: chance.choices(frames, (20, 20, 1))[0] + make()


def _registered(registry: str, schema: Mapping[str, Any], schema_type: str) -> bytes:
    """The frame of a schema that is registered under its own subject."""
    known = registry_at(RegistrySettings(registry))
    return frame_of(known.register(f"fuzz-{uuid.uuid4().hex}", schema, patient=False, schema_type=schema_type))


STREAMS: dict[str, Callable[[random.Random, str], Stream]] = {
    "avro": avro_stream,
    "confluent-avro": confluent_avro_stream,
    "json": json_stream,
    "json-schema": json_schema_stream,
    "protobuf": protobuf_stream,
    "tf-example": tf_example_stream,
}


def _name_a_data_type(chance: random.Random, schema: dict[str, Any]) -> None:
    kinds: list[Any] = ["string", ["null", "string"], "bytes", ["long", "string"]]
    if chance.random() < 0.5:
        schema["fields"].append({"name": "dataType", "type": chance.choice(kinds)})


def _json_of(chance: random.Random, kind: Any) -> Any:
    """A value of the type."""
    if isinstance(kind, list):
        return _json_of(chance, chance.choice(kind))
    if isinstance(kind, str):
        return chance.choice(_OF_TYPE[kind])
    if kind["type"] == "array":
        return [_json_of(chance, kind["items"]) for _ in range(chance.randrange(4))]
    return {"é": 0.5, "b": 1} if kind["type"] == "map" else chance.choice(kind["symbols"])


_OF_TYPE: dict[str, tuple[Any, ...]] = {
    "null": (None,),
    "boolean": (True, False),
    "int": (0, -1, 2**31 - 1),
    "long": (0, 2**31, -(2**63), 2**63 - 1),
    "float": (0, 0.5, -1e30),
    "double": (0.1, 1e300, 2**64, -(2**70), 1),
    "string": ("", "a", "Test", "é", "\U0001f600", "x" * 300),
    "bytes": ("a",),
}


def _json_value(chance: random.Random, depth: int) -> Any:
    simple = (0, 1, -1, 2**31, 2**63, 2**64, 0.5, 1e300, float("nan"), "", "a", "A", "é", "\ud800", True, None)
    if depth == 0 or chance.random() < 0.4:
        return chance.choice(simple[:8] + simple if depth else simple)
    items = [_json_value(chance, depth - 1) for _ in range(chance.randrange(4))]
    return items if chance.random() < 0.7 else {str(number): item for number, item in enumerate(items)}
