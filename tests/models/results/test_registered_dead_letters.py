"""Dead letters with a registered schema, against a real registry and Confluent's own deserializer."""

from __future__ import annotations

import json
import pickle
import uuid

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import given
from hypothesis import strategies as st

from models.errors import RegistryUnreachableError, SchemaError
from models.records.registry import RegistrySettings
from models.records.registry_framing import RegistryFraming
from models.results.dead_letter import DeadLetter, DeadLetterTopic, decode_dead_letter, encode_dead_letter
from models.schemas import bundled_schema
from runners.local.schema_registry import LocalSchemaRegistry
from tests.models.results.test_dead_letter import LETTERS

LETTER = DeadLetter("why", "records", 3, 42, 1042, b"key", b"\xff", (("h", None), ("h", b"2")), 2)
SHARED: dict[str, DeadLetterTopic] = {}


def letters_topic(registry: LocalSchemaRegistry) -> DeadLetterTopic:
    framing = RegistryFraming(RegistrySettings(registry.url))
    return DeadLetterTopic(f"dead-{uuid.uuid4().hex[:8]}", framing)


@given(LETTERS)
def test_letters_of_both_kinds_are_read(schema_registry: LocalSchemaRegistry, letter: DeadLetter) -> None:
    topic = SHARED.setdefault(schema_registry.url, letters_topic(schema_registry))
    plain = encode_dead_letter(letter)
    registered = topic.framing.decoder(bundled_schema("dead_letter"))
    assert decode_dead_letter(topic.frame(plain), registered) == letter
    assert decode_dead_letter(plain, registered) == letter


def test_any_client_reads_a_letter_by_the_schema_of_the_topics_subject(schema_registry: LocalSchemaRegistry) -> None:
    topic = pickle.loads(pickle.dumps(letters_topic(schema_registry)))
    message = topic.frame(encode_dead_letter(LETTER))
    client = SchemaRegistryClient({"url": schema_registry.url})
    read = AvroDeserializer(client)(message, SerializationContext(topic.name, MessageField.VALUE))
    assert read == {
        "reason": "why",
        "topic": "records",
        "partition": 3,
        "offset": 42,
        "timestamp": 1042,
        "key": b"key",
        "value": b"\xff",
        "headers": [{"name": "h", "value": None}, {"name": "h", "value": b"2"}],
        "rejectedAt": 2,
    }
    assert client.get_latest_version(f"{topic.name}-value").schema_id == int.from_bytes(message[1:5], "big")


@given(st.binary(max_size=60))
def test_a_message_that_is_not_a_letter_raises_nothing_but_a_value_error(
    schema_registry: LocalSchemaRegistry, content: bytes
) -> None:
    topic = SHARED.setdefault(schema_registry.url, letters_topic(schema_registry))
    registered = topic.framing.decoder(bundled_schema("dead_letter"))
    for header in (b"", topic.frame(encode_dead_letter(LETTER))[:5]):
        try:
            decode_dead_letter(header + content, registered)
        except ValueError:
            continue


def test_a_letter_of_another_registered_schema_is_refused(schema_registry: LocalSchemaRegistry) -> None:
    topic = letters_topic(schema_registry)
    other = Schema('{"type": "record", "name": "Other", "fields": []}', "AVRO")
    number = SchemaRegistryClient({"url": schema_registry.url}).register_schema(f"{topic.name}-other", other)
    with pytest.raises(ValueError, match=f"schema id {number} is not that of a DeadLetter"):
        decode_dead_letter(b"\0" + number.to_bytes(4, "big"), topic.framing.decoder({}))


def test_a_subject_that_refuses_the_schema_is_reported_at_the_start(schema_registry: LocalSchemaRegistry) -> None:
    topic = letters_topic(schema_registry)
    client = SchemaRegistryClient({"url": schema_registry.url})
    other = {"type": "record", "name": "Other", "fields": [{"name": "x", "type": "int"}]}
    client.register_schema(f"{topic.name}-value", Schema(json.dumps(other), "AVRO"))
    client.set_compatibility(f"{topic.name}-value", "BACKWARD")
    with pytest.raises(SchemaError, match=f"subject '{topic.name}-value'.* refused the request"):
        topic.register()


def test_a_registry_that_does_not_answer_is_reported_at_the_start_at_once() -> None:
    with pytest.raises(RegistryUnreachableError):
        DeadLetterTopic("dead", RegistryFraming(RegistrySettings("http://127.0.0.1:9"))).register()
