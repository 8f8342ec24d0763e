"""The wire format of Confluent's clients, against a real registry and their own serializers."""

from __future__ import annotations

import json
import pickle
import re
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import given
from hypothesis import strategies as st

from models.columns.scored import ModelCall
from models.errors import OptionsError, RegistryUnreachableError, SchemaError, UnknownSchemaError
from models.records.batch import VALUE_SCHEMA_HEADER, Headers
from models.records.codecs.base import DecodedRecords
from models.records.codecs.confluent_avro import ConfluentAvroCodec
from models.records.record_type import RecordType
from models.records.registry import RegistrySettings, SchemaRegistry, registry_at, registry_options
from models.records.registry_framing import RegistryFraming
from models.results.decoder import ResultDecoder
from models.results.encoder import Origin, ResultEncoder
from models.results.schema import register_result_schema
from models.serving.assembly import ScoringSettings, score_batch
from models.serving.registry import ModelRegistry
from runners.local.schema_registry import LocalSchemaRegistry
from tests.models.fakes import LONGS, TEXTS, batch_of, rows_of

V1 = {"type": "record", "name": "Test", "fields": [{"name": "x", "type": "int"}, {"name": "old", "type": "string"}]}
V2 = {
    "type": "record",
    "name": "Test",
    "fields": [{"name": "added", "type": "string", "default": "none"}, {"name": "x", "type": "long"}],
}
NO_CALL = ModelCall(None, 0, 0, 1, "no model")


class Topic:
    """A topic's subject in a registry, with the serializers of Confluent's client."""

    def __init__(self, url: str) -> None:
        self.name = f"topic-{uuid.uuid4().hex[:8]}"
        self.client = SchemaRegistryClient({"url": url})
        self.options = {**registry_options(url, {}), "subject": f"{self.name}-value"}
        self.context = SerializationContext(self.name, MessageField.VALUE)

    def kind(self, schema: Any = V2) -> RecordType:
        return RecordType("Test", json.dumps(schema), "confluent-avro", self.options)

    def write(self, schema: Any, *rows: Any) -> list[bytes]:
        serializer = AvroSerializer(self.client, json.dumps(schema))
        return [serializer(row, self.context) or b"" for row in rows]

    def read(self, message: bytes) -> Any:
        return AvroDeserializer(self.client)(message, self.context)

    def register(self, schema_text: str, schema_type: str = "AVRO", **settings: Any) -> int:
        return int(self.client.register_schema(f"{self.name}-value", Schema(schema_text, schema_type, **settings)))


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


def id_of(message: bytes) -> int:
    return int.from_bytes(message[1:5], "big")


# --- Schemas.


@given(st.lists(st.tuples(LONGS, TEXTS), max_size=5))
def test_what_confluents_serializer_writes_is_read_and_the_other_way_round(
    schema_registry: LocalSchemaRegistry, records: list[tuple[int, str]]
) -> None:
    topic = SHARED.setdefault(schema_registry.url, Topic(schema_registry.url))
    rows = [{"x": x, "added": added} for x, added in records]
    kind = topic.kind()
    decoded = decode(kind, topic.write(V2, *rows))
    assert rows_of(decoded.columns) == [{"added": row["added"], "x": row["x"]} for row in rows]
    assert not decoded.errors
    assert [topic.read(kind.codec.encode(row)) for row in rows] == rows


SHARED: dict[str, Topic] = {}


def test_a_batch_may_mix_schemas_and_all_become_the_readers(topic: Topic) -> None:
    old, new = (topic.write(V1, {"x": 1, "old": "a"}, {"x": 3, "old": "b"}), topic.write(V2, {"x": 2, "added": "c"}))
    decoded = decode(topic.kind(), [old[0], new[0], old[1]])
    assert rows_of(decoded.columns) == [{"added": one, "x": x} for one, x in [("none", 1), ("c", 2), ("none", 3)]]
    assert decoded.places.tolist() == [0, 1, 2]
    # As the reader's schema has them, and those of the same schema as they came.
    assert decoded.embedded[1].as_py() == new[0][5:]
    assert decoded.embedded[0].as_py() == topic.write(V2, {"x": 1, "added": "none"})[0][5:]


def test_a_batch_may_mix_schemas_also_where_a_column_is_a_union(topic: Topic) -> None:
    union = {"name": "u", "type": ["string", "long"]}
    reader, writer = {**V2, "fields": [*V2["fields"], union]}, {**V1, "fields": [*V1["fields"], union]}
    (old,) = topic.write(writer, {"x": 1, "old": "", "u": "a"})
    (new,) = topic.write(reader, {"x": 2, "added": "", "u": 5})
    decoded = decode(topic.kind(reader), [old, new, old])
    assert decoded.columns["u"].to_pylist() == ["a", 5, "a"]


def test_a_message_of_10_mb_is_read_beside_others(topic: Topic) -> None:
    long = "é" * 5_000_000
    messages = [
        *topic.write(V2, {"x": 1, "added": "a"}, {"x": 2, "added": long}),
        *topic.write(V1, {"x": 3, "old": long}),
    ]
    decoded = decode(topic.kind(), messages)
    assert rows_of(decoded.columns) == [{"added": one, "x": x} for one, x in [("a", 1), (long, 2), ("none", 3)]]
    assert decoded.embedded[1].as_py() == messages[1][5:]


def test_a_schema_that_appears_later_is_looked_up_when_it_comes(topic: Topic) -> None:
    kind = topic.kind()
    assert len(decode(kind, topic.write(V2, {"x": 1, "added": ""}))) == 1
    v3 = {**V2, "fields": [*V2["fields"], {"name": "later", "type": "double", "default": 0.0}]}
    decoded = decode(kind, topic.write(v3, {"x": 2, "added": "a", "later": 1.5}))
    assert rows_of(decoded.columns) == [{"added": "a", "x": 2}]


def test_references_are_followed(topic: Topic) -> None:
    inner = {"type": "record", "name": "ns.Inner", "fields": [{"name": "n", "type": "long"}]}
    other = Topic(topic.options["registry.url"])
    other.register(json.dumps(inner))
    outer = {
        "type": "record",
        "name": "Test",
        "fields": [{"name": "a", "type": "ns.Inner"}, {"name": "b", "type": ["null", "ns.Inner"]}],
    }
    reference = SchemaReference("ns.Inner", f"{other.name}-value", 1)
    number = topic.register(json.dumps(outer), references=[reference])
    kind = RecordType.named(f"subject:{topic.name}-value", "confluent-avro", topic.options)
    decoded = decode(kind, [b"\0" + number.to_bytes(4, "big") + b"\x02\x02\x04"])
    assert rows_of(decoded.columns) == [{"a": {"n": 1}, "b": {"n": 2}}]


def test_the_latest_schema_of_a_subject_can_be_the_readers(topic: Topic) -> None:
    topic.write(V1, {"x": 1, "old": "a"})
    topic.write(V2, {"x": 1, "added": "a"})
    kind = RecordType.named(f"subject:{topic.name}-value", "confluent-avro", topic.options)
    assert kind.name == "Test"
    assert kind.codec.fields.names == ["added", "x"]
    assert pickle.loads(pickle.dumps(kind)).declared == kind.declared


def test_a_missing_subject_or_a_missing_registry_is_an_error_at_the_start(topic: Topic) -> None:
    with pytest.raises(UnknownSchemaError, match="subject 'no-such' is unknown to the registry"):
        RecordType.named("subject:no-such", "confluent-avro", topic.options)
    with pytest.raises(OptionsError, match="missing: --schema-registry"):
        RecordType.named("wine", "confluent-avro")


# --- Ids in headers.


@pytest.mark.parametrize("place", [0, 1])
def test_a_header_may_hold_the_id(topic: Topic, place: int) -> None:
    (one,) = topic.write(V1, {"x": 1, "old": "a"})
    (two,) = topic.write(V2, {"x": 2, "added": "b"})
    values = [two, two]
    values[place] = one[5:]
    trace: Headers = (("trace", b"t"), (VALUE_SCHEMA_HEADER, None))
    headers = {place: (("trace", b"t"), (VALUE_SCHEMA_HEADER, one[:5])), 1 - place: trace}
    decoded = decode(topic.kind(), values, headers)
    assert decoded.columns["x"].to_pylist() == ([1, 2] if place == 0 else [2, 1])
    assert not decoded.errors


def test_a_header_may_hold_a_guid(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    # The registry here knows no GUIDs: its client is given one.
    guid = uuid.uuid4()
    (one,) = topic.write(V1, {"x": 1, "old": "a"})
    kind = topic.kind()
    monkeypatch.setattr(
        SchemaRegistryClient, "get_schema_by_guid", lambda _, asked: {str(guid): Schema(json.dumps(V1), "AVRO")}[asked]
    )
    header = ((VALUE_SCHEMA_HEADER, b"\x01" + guid.bytes),)
    decoded = decode(kind, [one[5:], b"\x01" + guid.bytes + one[5:]], {0: header})
    assert decoded.columns["x"].to_pylist() == [1, 1]


def test_an_unknown_guid_or_a_broken_header_is_an_error_of_the_record(topic: Topic) -> None:
    (one,) = topic.write(V2, {"x": 1, "added": "a"})
    guid = uuid.uuid4()
    headers = {0: ((VALUE_SCHEMA_HEADER, b"\x01" + guid.bytes),), 1: ((VALUE_SCHEMA_HEADER, b"\x05"),)}
    decoded = decode(topic.kind(), [one, one, one, None], {**headers, 3: headers[0]})
    assert f"schema GUID {guid} is unknown" in decoded.errors[0]
    assert "its header __value_schema_id is not a schema id: 05" in decoded.errors[1]
    assert "has no value" in decoded.errors[3]
    assert decoded.places.tolist() == [2]


# --- Malformed messages.


def broken(topic: Topic, good: bytes) -> list[tuple[bytes | None, str]]:
    text_schema = Schema('{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}', "JSON")
    json_schema = topic.client.register_schema(f"{topic.name}-json", text_schema)
    text = topic.register('"string"')
    other = topic.register(json.dumps({**V1, "name": "Other"}))
    frame = [b"\0" + number.to_bytes(4, "big") for number in (json_schema, text, other)]
    return [
        (None, "has no value"),
        (b"", "not framed with a schema id; its first bytes are none"),
        (b"\0", "not framed"),
        (b"\0\0\0\0", "not framed"),
        (b"\x02" + good[1:], "not framed"),
        (good[:5], "not a Test record"),
        (good + b"z", "1 bytes follow its end"),
        (b"\0\x7f\xff\xff\xff" + good[5:], "schema id 2147483647 is unknown to the registry"),
        (b"\0\xff\xff\xff\xff" + good[5:], "schema id 4294967295 is unknown"),
        (b"\0\0\0\0\0" + good[5:], "schema id 0"),
        (frame[0] + b"{}", f"schema id {json_schema} is not an Avro schema but JSON"),
        (frame[1] + b"\x02a", f"schema id {text}: the writer's schema is not a record"),
        (frame[2] + b"\x02\x02a", f"schema id {other}: .*"),
    ]


def test_what_is_malformed_spoils_no_other_at_whatever_place(topic: Topic) -> None:
    old, new = topic.write(V1, {"x": 1, "old": "a"})[0], topic.write(V2, {"x": 2, "added": "b"})[0]
    kind = topic.kind()
    for value, reason in broken(topic, new):
        for place in range(4):
            values: list[bytes | None] = [old, new, old]
            values.insert(place, value)
            decoded = decode(kind, values)
            assert decoded.columns["x"].to_pylist() == [1, 2, 1]
            assert decoded.places.tolist() == [at for at in range(4) if at != place]
            assert set(decoded.errors) == {place}
            assert re.search(reason, decoded.errors[place])


@given(st.lists(st.none() | st.binary(max_size=20) | st.binary(max_size=20).map(lambda end: b"\0\0\0\0\x01" + end)))
def test_of_arbitrary_bytes_each_message_is_a_row_or_an_error(
    schema_registry: LocalSchemaRegistry, values: list[bytes | None]
) -> None:
    topic = SHARED.setdefault(schema_registry.url, Topic(schema_registry.url))
    decoded = decode(topic.kind(), values)
    assert sorted([*decoded.places.tolist(), *decoded.errors]) == list(range(len(values)))
    assert len(decoded.embedded) == len(decoded) == decoded.columns.num_rows


def test_a_slice_of_a_longer_array_is_decoded_as_one_of_its_own(topic: Topic) -> None:
    messages = topic.write(V2, *({"x": x, "added": "a" * x} for x in range(4)))
    values = pa.array([None, *messages], pa.binary()).slice(2, 2)
    assert topic.kind().codec.decode(values).columns["x"].to_pylist() == [1, 2]


def test_an_unknown_id_is_asked_for_again_after_a_while(topic: Topic, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    framing = RegistryFraming(RegistrySettings(topic.options["registry.url"]))
    codec = ConfluentAvroCodec("Test", V2, framing, clock=lambda: now[0])
    messages = pa.array(topic.write(V2, {"x": 1, "added": "a"}), pa.binary())

    def unknown(*_: object) -> None:
        raise UnknownSchemaError("schema is unknown")

    with monkeypatch.context() as patched:  # not registered yet, or not yet where the registry reads
        patched.setattr(SchemaRegistry, "schema", unknown)
        assert codec.decode(messages).errors
    now[0] = 29.0
    assert codec.decode(messages).errors
    now[0] = 31.0
    assert not codec.decode(messages).errors


# --- Results.


def test_results_are_framed_and_registered_for_their_topic(topic: Topic) -> None:
    kind = topic.kind()
    record = topic.write(V1, {"x": 1, "old": "a"})
    encoder = ResultEncoder(kind.codec.embedding, f"{topic.name}-results")
    embedded = decode(kind, record).embedded
    (message,) = encoder.encode(NO_CALL, Origin("records", 1), embedded, np.array([5]), None).to_pylist()
    result = topic.read(message)
    assert result["inputRecord"] == {"x": 1, "added": "none"}
    assert result["modelResultMetadata"]["offset"] == 5
    assert topic.client.get_latest_version(f"{topic.name}-results-value").schema_id == id_of(message)
    assert ResultDecoder(kind.codec.embedding).decode(message)["inputRecord"] == {"x": 1, "added": "none"}
    for malformed in (b"", message[:7], message + b"x", b"\x01" + message, b"\0\x7f\0\0\0" + message[5:]):
        with pytest.raises(ValueError):
            ResultDecoder(kind.codec.embedding).decode(malformed)


def test_results_that_the_subject_refuses_are_an_error_at_the_start(topic: Topic) -> None:
    results = f"{topic.name}-results"
    topic.client.register_schema(f"{results}-value", Schema(json.dumps({**V1, "name": "Elsewhere"}), "AVRO"))
    topic.client.set_compatibility(f"{results}-value", "BACKWARD")
    with pytest.raises(SchemaError, match=f"subject '{results}-value'.* refused the request"):
        register_result_schema(topic.kind(), results)


def test_the_header_of_a_record_does_not_describe_its_result(topic: Topic, models: ModelRegistry) -> None:
    (message,) = topic.write(V2, {"x": 1, "added": "a"})
    headers: Headers = ((VALUE_SCHEMA_HEADER, message[:5]), ("trace", b"t"), ("__key_schema_id", b"k"))
    for key, kept in (("record", {"trace", "__key_schema_id"}), ("coordinates", {"trace", "record.key"})):
        settings = ScoringSettings({"records": topic.kind()}, f"{topic.name}-results", "letters", key)  # type: ignore[arg-type]
        scored = score_batch(batch_of([message[5:]], headers=[headers]), models, settings)
        (result,) = scored.outgoing
        assert {name for name, _ in result.headers} == kept
        assert topic.read(result.value or b"")["inputRecord"] == {"x": 1, "added": "a"}


# --- A registry that does not answer.


def test_without_its_registry_nothing_becomes_a_dead_letter(
    topic: Topic, models: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.records.registry.PATIENCE_SECONDS", 0.0)
    registry_at.cache_clear()  # an earlier test may have made one for the same address, which is patient
    (message,) = topic.write(V2, {"x": 1, "added": "a"})
    gone = {**topic.options, "registry.url": "http://127.0.0.1:9"}
    kind = RecordType("Test", json.dumps(V2), "confluent-avro", gone)
    with pytest.raises(RegistryUnreachableError, match=r"at http://127.0.0.1:9 did not give schema id"):
        score_batch(batch_of([message]), models, ScoringSettings({"records": kind}, "results", "letters"))
