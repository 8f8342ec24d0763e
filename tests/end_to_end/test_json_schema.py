"""JSON records that name a JSON Schema in a registry, and registered dead letters, end to end on Prism."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from models.kafka.client import KafkaSettings
from models.records.record_type import RecordType
from models.records.registry import registry_options
from runners.local.kafka_broker import LocalBroker
from runners.local.schema_registry import LocalSchemaRegistry
from tests.end_to_end.deployment import Deployment

RECORD = {
    "type": "record",
    "name": "Measure",
    "fields": [
        {"name": "x", "type": "double"},
        {"name": "added", "type": "string", "default": "none"},
        {"name": "dataType", "type": "string"},
    ],
}


def json_schema(**properties: str) -> str:
    named = {name: {"type": kind} for name, kind in properties.items()}
    return json.dumps({"title": "Measure", "type": "object", "properties": named})


def test_records_of_several_json_schemas_are_scored_and_the_malformed_are_dead_letters(
    broker: LocalBroker,
    schema_registry: LocalSchemaRegistry,
    prism_location: Path,
    version_model: Callable[..., Path],
    tmp_path: Path,
) -> None:
    schema = tmp_path / "measure.avsc"
    schema.write_text(json.dumps(RECORD))
    deployment = Deployment(
        KafkaSettings(broker.bootstrap_servers),
        RecordType.named(str(schema), "json-schema", registry_options(schema_registry.url, {})),
        {
            "runner-options": [f"--prism_location={prism_location}"],
            "schema-registry": schema_registry.url,
            "record-schema": str(schema),
            "dead-letter-format": "confluent-avro",
        },
        tmp_path / "deployment",
    )
    client = SchemaRegistryClient({"url": schema_registry.url})
    context = SerializationContext(deployment.topic("records"), MessageField.VALUE)

    def serialize(text: str, row: dict[str, Any]) -> bytes:
        return JSONSerializer(text, client)(row, context) or b""

    old, new = {"x": 0.5, "gone": 1, "dataType": "m"}, {"x": 1.5, "added": "a", "dataType": "m"}
    first = serialize(json_schema(x="number", gone="integer", dataType="string"), old)
    second = serialize(json_schema(x="number", added="string", dataType="string"), new)
    unknown = b"\0\x7f\xff\xff\xff" + first[5:]
    try:
        deployment.publish("m", version_model(1), {"x": ("x",)}, data_type="m")
        deployment.start()
        offsets = deployment.send_bytes([first, unknown, second, first[5:]])
        results = deployment.results_of([offsets[0], offsets[2]])
        assert [one.record for one in results] == [old, new]
        assert [one.values("version") for one in results] == [[1], [1]]
        tail = deployment._letters_tail
        assert tail.until(lambda: len(tail.messages) == 2, 60.0), deployment._log_end()
        read, where = AvroDeserializer(client), SerializationContext(deployment.topic("dead-letters"), "value")
        letters = {one["offset"]: one for one in (read(message.value(), where) for message in tail.messages)}
        assert "schema id 2147483647 is unknown to the registry" in letters[offsets[1]]["reason"]
        assert "not framed with a schema id" in letters[offsets[3]]["reason"]
        assert letters[offsets[1]]["value"] == unknown
    finally:
        deployment.close()
