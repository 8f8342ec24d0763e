"""JSON that names a JSON Schema in a registry, against a real registry and Confluent's own serializers."""

from __future__ import annotations

import json
import pickle
import re
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext, SerializationError
from hypothesis import given
from hypothesis import strategies as st

from models.errors import OptionsError, RegistryUnreachableError, SchemaError, UnknownSchemaError
from models.records.batch import VALUE_SCHEMA_HEADER, Headers
from models.records.codecs.base import DecodedRecords
from models.records.codecs.json_schema import JsonSchemaCodec, json_schema_of
from models.records.record_type import RecordType
from models.records.registry import RegistrySettings, SchemaRegistry, registry_at, registry_options
from models.results.decoder import ResultDecoder
from models.schemas import BUNDLED_RECORDS
from models.serving.assembly import ScoringSettings, score_batch
from models.serving.registry import ModelRegistry
from runners.local.schema_registry import LocalSchemaRegistry
from tests.models.fakes import LONGS, TEXTS, batch_of, rows_of

RECORD = {
    "type": "record",
    "name": "Test",
    "fields": [{"name": "x", "type": "long"}, {"name": "added", "type": "string", "default": "none"}],
}
OLD = {"title": "Old", "type": "object", "properties": {"x": {"type": "integer"}, "gone": {"type": "string"}}}
NEW: dict[str, Any] = {
    "title": "New",
    "type": "object",
    "properties": {"x": {"type": "integer"}, "added": {"type": "string"}},
}


class Topic:
    """A topic's subject in a registry, with the serializers of Confluent's client."""

    def __init__(self, url: str) -> None:
        self.name = f"topic-{uuid.uuid4().hex[:8]}"
        self.client = SchemaRegistryClient({"url": url})
        self.options = {**registry_options(url, {}), "subject": f"{self.name}-value"}
        self.context = SerializationContext(self.name, MessageField.VALUE)

    def kind(self, schema: Any = RECORD) -> RecordType:
        return RecordType("Test", json.dumps(schema), "json-schema", self.options)

    def write(self, schema: Any, *rows: Any) -> list[bytes]:
        serializer = JSONSerializer(json.dumps(schema), self.client)
        return [serializer(row, self.context) or b"" for row in rows]

    def read(self, message: bytes) -> Any:
        return JSONDeserializer(None, schema_registry_client=self.client)(message, self.context)

    def register(self, schema_text: str, schema_type: str) -> int:
        subject = f"{self.name}-{uuid.uuid4().hex[:4]}"
        return int(self.client.register_schema(subject, Schema(schema_text, schema_type)))


SHARED: dict[str, Topic] = {}


@pytest.fixture
def topic(schema_registry: LocalSchemaRegistry) -> Topic:
    return Topic(schema_registry.url)


@pytest.fixture
def models() -> Iterator[ModelRegistry]:
    """A registry without a model."""
    registry = ModelRegistry("worker")
    yield registry
    registry.close()


def decode(
    kind: RecordType, values: Sequence[bytes | None], headers: dict[int, Headers] | None = None
) -> DecodedRecords:
    return kind.codec.decode(pa.array(values, pa.binary()), headers)


# --- Round trips.


@given(st.lists(st.tuples(LONGS, TEXTS), max_size=5))
def test_confluents_serializer_and_the_codec_read_each_other(
    schema_registry: LocalSchemaRegistry, records: list[tuple[int, str]]
) -> None:
    topic = SHARED.setdefault(schema_registry.url, Topic(schema_registry.url))
    rows = [{"x": x, "added": added} for x, added in records]
    kind = topic.kind()
    decoded = decode(kind, topic.write(NEW, *rows))
    assert rows_of(decoded.columns) == rows
    assert not decoded.errors
    assert [topic.read(kind.codec.encode(row)) for row in rows] == rows


def test_a_batch_may_mix_schemas_and_records_are_embedded_without_their_ids(topic: Topic) -> None:
    old = topic.write(OLD, {"x": 1, "gone": "a"}, {"x": 3, "gone": "b"})
    (new,) = topic.write(NEW, {"x": 2, "added": "c"})
    decoded = decode(topic.kind(), [old[0], new, old[1]])
    assert rows_of(decoded.columns) == [{"x": x, "added": one} for x, one in [(1, "none"), (2, "c"), (3, "none")]]
    assert decoded.places.tolist() == [0, 1, 2]
    assert decoded.embedded.to_pylist() == [old[0][5:], new[5:], old[1][5:]]


def test_a_message_of_10_mb_is_read_beside_others(topic: Topic) -> None:
    rows = [{"x": 1, "added": "a"}, {"x": 2, "added": "é" * 5_000_000}, {"x": 3, "added": "b"}]
    messages = topic.write(NEW, *rows)
    decoded = decode(topic.kind(), messages)
    assert rows_of(decoded.columns) == rows
    assert decoded.embedded[1].as_py() == messages[1][5:]


def test_schemas_may_evolve_while_records_are_read(topic: Topic) -> None:
    kind = topic.kind()
    for turn in range(3):
        evolved = {**NEW, "properties": {**NEW["properties"], f"more_{turn}": {"type": "string"}}}
        (message,) = topic.write(evolved, {"x": turn, "added": "a", f"more_{turn}": "b"})
        decoded = decode(kind, [*topic.write(OLD, {"x": -1, "gone": "c"}), message])
        assert rows_of(decoded.columns) == [{"x": -1, "added": "none"}, {"x": turn, "added": "a"}]


@pytest.mark.parametrize("place", [0, 1])
def test_a_header_may_hold_the_id(topic: Topic, place: int) -> None:
    (one,) = topic.write(NEW, {"x": 1})
    (two,) = topic.write(OLD, {"x": 2})
    values = [two, two]
    values[place] = one[5:]
    decoded = decode(topic.kind(), values, {place: (("trace", b"t"), (VALUE_SCHEMA_HEADER, one[:5]))})
    assert decoded.columns["x"].to_pylist() == ([1, 2] if place == 0 else [2, 1])
    assert not decoded.errors


def test_a_header_may_hold_a_guid(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    # The local registry does not know GUIDs, so its client is given one.
    guid = uuid.uuid4()
    known = {str(guid): Schema(json.dumps(NEW), "JSON")}
    monkeypatch.setattr(SchemaRegistryClient, "get_schema_by_guid", lambda _, asked: known[asked])
    header: Headers = ((VALUE_SCHEMA_HEADER, b"\x01" + guid.bytes),)
    decoded = decode(topic.kind(), [b'{"x": 1}'], {0: header})
    assert decoded.columns["x"].to_pylist() == [1]


def test_the_record_type_pickles_without_its_codec(topic: Topic) -> None:
    kind = RecordType.named("recommender", "json-schema", topic.options)
    (message,) = [kind.codec.encode({"user": 1, "products": [2], "dataType": "d"})]
    copy = pickle.loads(pickle.dumps(kind))
    assert rows_of(decode(copy, [message]).columns) == [{"user": 1, "products": [2], "dataType": "d"}]


# --- The JSON Schema of written records.

NESTED = {
    "type": "record",
    "name": "ns.Tree",
    "fields": [
        {"name": "next", "type": ["null", "Tree"]},
        {"name": "leaf", "type": {"type": "record", "name": "Leaf", "fields": [{"name": "e", "type": "double"}]}},
        {"name": "leaves", "type": {"type": "array", "items": "Leaf"}},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
        {"name": "table", "type": {"type": "map", "values": "boolean"}, "default": {}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}


def test_written_records_follow_the_registered_json_schema(topic: Topic) -> None:
    leaf = {"next": None, "leaf": {"e": 1.5}, "leaves": [{"e": 2}], "kind": "A", "table": {"k": True}, "at": 5}
    row = {**leaf, "next": leaf}
    assert topic.read(topic.kind(NESTED).codec.encode(row)) == row  # Confluent's deserializer validates it


@pytest.mark.parametrize("wrong", [{"next": 1}, {"leaf": {}}, {"leaves": [None]}, {"kind": "C"}, {"at": "now"}])
def test_the_registered_json_schema_refuses_what_the_record_schema_refuses(topic: Topic, wrong: dict[str, Any]) -> None:
    row = {"next": None, "leaf": {"e": 1.5}, "leaves": [], "kind": "A", "table": {}, "at": 5, **wrong}
    message = topic.kind(NESTED).codec.encode(row)
    assert decode(topic.kind(NESTED), [message]).errors
    with pytest.raises(SerializationError):
        topic.read(message)


@pytest.mark.parametrize("name", BUNDLED_RECORDS)
def test_fields_with_a_default_are_optional(name: str) -> None:
    declared = RecordType.named(name).declared
    required = [field["name"] for field in declared["fields"] if "default" not in field]
    assert json_schema_of(declared)["required"] == required


# --- Malformed messages.


def malformed(topic: Topic, good: bytes) -> list[tuple[bytes | None, str]]:
    """Messages, and the texts of their errors."""
    avro = topic.register('{"type": "record", "name": "Test", "fields": []}', "AVRO")
    protobuf = topic.register('syntax = "proto3"; message Test { int64 x = 1; }', "PROTOBUF")
    frame = [b"\0" + number.to_bytes(4, "big") for number in (avro, protobuf)]
    return [
        (None, "has no value"),
        (b"", "not framed with a schema id; its first bytes are none"),
        (b"\0\0\0\0", "not framed"),
        (good[5:], "not framed"),
        (b"\x02" + good[1:], "not framed"),
        (good[:5], "not a Test record"),
        (good[:-1], "not a Test record"),
        (good + b"}", "not a Test record"),
        (good[:5] + b"[1]", "the JSON is not an object"),
        (good[:5] + b'{"x": "one"}', "not a Test record"),
        (good[:5] + b'{"added": "\xff"}', "not a Test record"),
        (good[:5] + rb'{"x": 1, "added": "\ud800"}', "a lone surrogate"),
        (b"\0\x7f\xff\xff\xff" + good[5:], "schema id 2147483647 is unknown to the registry"),
        (b"\0\xff\xff\xff\xff" + good[5:], "schema id 4294967295 is unknown"),
        (frame[0] + good[5:], f"schema id {avro} is not a JSON Schema but AVRO"),
        (frame[1] + good[5:], f"schema id {protobuf} is not a JSON Schema but PROTOBUF"),
    ]


def test_a_malformed_message_spoils_no_other_at_any_position(topic: Topic) -> None:
    (old,), (new,) = topic.write(OLD, {"x": 1}), topic.write(NEW, {"x": 2})
    kind = topic.kind()
    for value, reason in malformed(topic, new):
        for place in range(4):
            values: list[bytes | None] = [old, new, old]
            values.insert(place, value)
            decoded = decode(kind, values)
            assert decoded.columns["x"].to_pylist() == [1, 2, 1]
            assert decoded.places.tolist() == [at for at in range(4) if at != place]
            assert set(decoded.errors) == {place}
            assert re.search(reason, decoded.errors[place]), (value, decoded.errors)


def test_an_unknown_guid_or_a_broken_header_is_an_error_of_the_record(topic: Topic) -> None:
    (one,) = topic.write(NEW, {"x": 1})
    guid = uuid.uuid4()
    named: tuple[Headers, Headers] = (((VALUE_SCHEMA_HEADER, b"\x01" + guid.bytes),), ((VALUE_SCHEMA_HEADER, b"\x05"),))
    decoded = decode(topic.kind(), [one, one, one], dict(enumerate(named)))
    assert f"schema GUID {guid} is unknown" in decoded.errors[0]
    assert "its header __value_schema_id is not a schema id: 05" in decoded.errors[1]
    assert decoded.places.tolist() == [2]


FRAMED = st.binary(max_size=20).map(lambda end: b"\0\0\0\0\x01" + end)


@given(st.lists(st.none() | st.binary(max_size=20) | FRAMED))
def test_each_arbitrary_message_is_a_row_or_an_error(
    schema_registry: LocalSchemaRegistry, values: list[bytes | None]
) -> None:
    topic = SHARED.setdefault(schema_registry.url, Topic(schema_registry.url))
    decoded = decode(topic.kind(), values)
    assert sorted([*decoded.places.tolist(), *decoded.errors]) == list(range(len(values)))
    assert len(decoded.embedded) == len(decoded) == decoded.columns.num_rows


def test_a_slice_of_a_longer_array_is_decoded_like_any_other(topic: Topic) -> None:
    values = pa.array([None, *topic.write(NEW, *({"x": x} for x in range(4)))], pa.binary()).slice(2, 2)
    assert topic.kind().codec.decode(values).columns["x"].to_pylist() == [1, 2]


def test_an_unknown_id_is_asked_for_again_after_a_while(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    registry = SchemaRegistry(RegistrySettings(topic.options["registry.url"]))
    codec = JsonSchemaCodec("Test", RECORD, registry, clock=lambda: now[0])
    messages = pa.array(topic.write(NEW, {"x": 1}), pa.binary())

    def unknown(*_: object) -> None:
        raise UnknownSchemaError("schema is unknown")

    with monkeypatch.context() as patched:
        patched.setattr(SchemaRegistry, "check_type", unknown)
        assert codec.decode(messages).errors
    now[0] = 29.0
    assert codec.decode(messages).errors
    now[0] = 31.0
    assert not codec.decode(messages).errors


# --- Options, results, and a registry that does not answer.


def test_the_record_schema_must_be_an_avro_schema_and_the_registry_must_be_named(topic: Topic) -> None:
    with pytest.raises(SchemaError, match="subject:records-value: records of the format json-schema are read with"):
        RecordType.named("subject:records-value", "json-schema", topic.options)
    with pytest.raises(OptionsError, match="missing: --schema-registry"):
        RecordType.named("wine", "json-schema")


def test_results_are_json_that_holds_the_record_and_not_the_header_that_names_its_schema(
    topic: Topic, models: ModelRegistry
) -> None:
    (message,) = topic.write(NEW, {"x": 1, "added": "a"})
    headers: Headers = ((VALUE_SCHEMA_HEADER, message[:5]), ("trace", b"t"))
    scored = score_batch(
        batch_of([message[5:]], headers=[headers]), models, ScoringSettings({"records": topic.kind()}, "r", "letters")
    )
    (result,) = scored.outgoing
    assert result.headers == (("trace", b"t"),)
    assert json.loads(result.value or b"")["inputRecord"] == {"x": 1, "added": "a"}
    assert ResultDecoder(topic.kind().codec.embedding).decode(result.value or b"")["inputRecord"]["x"] == 1


def test_without_its_registry_nothing_becomes_a_dead_letter(
    topic: Topic, models: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.records.registry.PATIENCE_SECONDS", 0.0)
    registry_at.cache_clear()  # an earlier test may have made one for the same address, which is patient
    (message,) = topic.write(NEW, {"x": 1})
    gone = {**topic.options, "registry.url": "http://127.0.0.1:9"}
    kind = RecordType("Test", json.dumps(RECORD), "json-schema", gone)
    with pytest.raises(RegistryUnreachableError, match=r"at http://127.0.0.1:9 did not give schema id"):
        score_batch(batch_of([message]), models, ScoringSettings({"records": kind}, "results", "letters"))
