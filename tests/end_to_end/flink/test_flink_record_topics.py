"""Several record topics on a Flink cluster: json, json-schema and protobuf, which no other test covers there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, text_format

from models.records.record_type import RecordType
from models.records.registry import registry_options
from models.results.decoder import ResultDecoder, decode_any
from runners.flink.cluster import LocalFlinkCluster
from runners.local.schema_registry import LocalSchemaRegistry
from tests.end_to_end.flink.conftest import DeployOnFlink
from tests.end_to_end.kafka_tail import KafkaTail

MEASURE = {"type": "record", "name": "Measure", "fields": [{"name": "x", "type": "double"}]}
JSON_SCHEMA = {"title": "Measure", "type": "object", "properties": {"x": {"type": "number"}}}
MESSAGE = """
file { name: "measure.proto" package: "acme" syntax: "proto3"
  message_type { name: "Measure" field { name: "x" number: 1 label: LABEL_OPTIONAL type: TYPE_DOUBLE } } }
"""


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_each_topic_is_read_in_its_own_format_on_a_cluster(
    make_cluster: Callable[..., LocalFlinkCluster],
    deploy: DeployOnFlink,
    schema_registry: LocalSchemaRegistry,
    version_model: Callable[..., Path],
    tmp_path: Path,
) -> None:
    schema, message = tmp_path / "measure.avsc", tmp_path / "measure.binpb"
    schema.write_text(json.dumps(MEASURE))
    message.write_bytes(text_format.Parse(MESSAGE, descriptor_pb2.FileDescriptorSet()).SerializeToString())
    registry = registry_options(schema_registry.url, {})
    types = {
        "plain": RecordType.named(str(schema), "json"),
        "registered": RecordType.named(str(schema), "json-schema", registry),
        "messages": RecordType.named(f"{message}#acme.Measure", "protobuf"),
    }
    deployment = deploy(make_cluster(slots=2), 2, schema=str(schema))
    for kind in types:
        deployment.make_topic(kind)
    listed = [
        {"topic": deployment.topic("plain"), "schema": str(schema), "format": "json"},
        {"topic": deployment.topic("registered"), "schema": str(schema), "format": "json-schema"},
        {"topic": deployment.topic("messages"), "schema": f"{message}#acme.Measure", "format": "protobuf"},
    ]
    deployment.publish("measures", version_model(1), {"x": ("x",)}, data_type="Measure")
    deployment.publish("messages", version_model(2), {"x": ("x",)}, data_type="acme.Measure")
    topics = {"records_topic": None, "record_schema": None, "record_format": None, "records": listed}
    deployment.start(**topics, schema_registry=schema_registry.url)

    context = SerializationContext(deployment.topic("registered"), MessageField.VALUE)
    framed = JSONSerializer(json.dumps(JSON_SCHEMA), SchemaRegistryClient({"url": schema_registry.url}))
    good = {
        "plain": b'{"x": 1.5}',
        "registered": framed({"x": 1.5}, context) or b"",
        "messages": types["messages"].codec.encode({"x": 1.5}),
    }
    malformed = {"plain": b'{"x": NaN}', "registered": b"\0\x7f\xff\xff\xff{}", "messages": b"\x0a\x01a"}
    for kind, value in good.items():
        deployment.send_bytes([value, malformed[kind], value], kind=kind)

    decoders = [ResultDecoder(one.codec.embedding) for one in types.values()]
    tail = KafkaTail(deployment.kafka, deployment.topic("results"))

    def results() -> set[tuple[str, int, str | None]]:
        tail.poll()
        found: list[dict[str, Any]] = [
            decode_any(decoders, one.value() or b"")["modelResultMetadata"] for one in tail.messages
        ]
        assert [one["errors"] for one in found] == [None] * len(found)
        return {(one["topic"], one["offset"], one["modelName"]) for one in found}

    models = {"plain": "measures", "registered": "measures", "messages": "messages"}
    expected = {(deployment.topic(kind), offset, model) for kind, model in models.items() for offset in (0, 2)}
    # A job starts slowly on a busy machine.
    deployment.eventually(lambda: results() == expected, "two results of each topic", seconds=150.0)
    tail.close()

    def letters() -> set[tuple[str, bytes | None]]:
        return {(one.topic, one.value) for one in deployment.all_dead_letters()}

    rejected = {(deployment.topic(kind), value) for kind, value in malformed.items()}
    deployment.eventually(lambda: letters() == rejected, "a dead letter of each topic")
