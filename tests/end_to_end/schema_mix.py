"""A topic that mixes two versions of a schema, written by Confluent's own serializer, and its results."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from models.records.record_type import RecordType
from models.records.registry import registry_options
from tests.end_to_end.deployment import Deployment

X = {"x": ("x",)}


def schema(*fields: dict[str, Any]) -> str:
    return json.dumps({"type": "record", "name": "Measure", "namespace": "tests", "fields": list(fields)})


DATA_TYPE = {"name": "dataType", "type": "string"}
FIRST = schema({"name": "x", "type": "float"}, {"name": "gone", "type": "string"}, DATA_TYPE)
SECOND = schema(DATA_TYPE, {"name": "x", "type": "double"}, {"name": "added", "type": "string", "default": "none"})
THIRD = schema(
    DATA_TYPE,
    {"name": "x", "type": "double"},
    {"name": "added", "type": "string", "default": "none"},
    {"name": "later", "type": ["null", "long"], "default": None},
)


def reader_type(url: str) -> RecordType:
    """The record type of the reader: the second schema."""
    return RecordType("Measure", SECOND, "confluent-avro", registry_options(url, {}))


class Producer:
    """Writes to the records topic and reads from the results topic, as any Confluent client does."""

    def __init__(self, deployment: Deployment, url: str) -> None:
        self._deployment = deployment
        self._client = SchemaRegistryClient({"url": url})
        self._context = SerializationContext(deployment.topic("records"), MessageField.VALUE)
        self._deserializer = AvroDeserializer(self._client)

    def register(self, text: str) -> None:
        """Registers a schema without sending a record of it."""
        self.serialize(text, {"x": 0.0, "gone": "", "dataType": "m"})

    def serialize(self, text: str, row: dict[str, Any]) -> bytes:
        return AvroSerializer(self._client, text)(row, self._context) or b""

    def read_results(self, offsets: list[int]) -> list[dict[str, Any]]:
        """The results of these records, in order."""
        found: dict[int, dict[str, Any]] = {}
        tail = self._deployment._results_tail
        context = SerializationContext(self._deployment.topic("results"), MessageField.VALUE)

        def all_there() -> bool:
            for message in tail.messages:
                result = self._deserializer(message.value(), context)
                found[result["modelResultMetadata"]["offset"]] = result
            return found.keys() >= set(offsets)

        assert tail.until(all_there, 120.0), self._deployment._log_end()
        return [found[offset] for offset in offsets]


def check_mixed_schemas(deployment: Deployment, url: str, publish: Callable[[], Any]) -> None:
    """Scores records of three schemas, the last of which appears while the pipeline runs."""
    client = Producer(deployment, url)
    old = {"x": 0.5, "gone": "g", "dataType": "m"}
    new = {"x": 1.5, "added": "a", "dataType": "m"}
    publish()
    client.register(FIRST)
    client.serialize(SECOND, new)  # the latest when the pipeline starts
    deployment.start()
    mixed = [client.serialize(FIRST, old), client.serialize(SECOND, new), client.serialize(FIRST, old)]
    offsets = deployment.send_bytes(mixed)
    results = client.read_results(offsets)
    expected = [{**new, "x": 0.5, "added": "none"}, new, {**new, "x": 0.5, "added": "none"}]
    assert [result["inputRecord"] for result in results] == expected
    assert [result["outputs"]["version"]["values"]["items"] for result in results] == [[1]] * 3
    (unknown,) = deployment.send_bytes([b"\0\x7f\xff\xff\xff" + mixed[0][5:]])
    assert "schema id 2147483647 is unknown to the registry" in deployment.dead_letters([unknown])[unknown].reason
    (later,) = deployment.send_bytes([client.serialize(THIRD, {**new, "later": 5})])
    assert client.read_results([later])[0]["inputRecord"] == new
