"""Protobuf records described by a descriptor set, end to end on Prism."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from google.protobuf import descriptor_pb2, text_format

from models.kafka.client import KafkaSettings
from runners.local.kafka_broker import LocalBroker
from tests.end_to_end.conftest import make_deployment

MEASURE = """
file { name: "measure.proto" package: "acme" syntax: "proto3"
  message_type { name: "Measure"
    field { name: "x" number: 1 label: LABEL_OPTIONAL type: TYPE_DOUBLE }
    field { name: "data_type" number: 2 label: LABEL_OPTIONAL type: TYPE_STRING json_name: "dataType" } } }
"""


def test_messages_are_scored_and_the_malformed_are_dead_letters(
    broker: LocalBroker, prism_location: Path, version_model: Callable[..., Path], tmp_path: Path
) -> None:
    file = tmp_path / "measure.binpb"
    file.write_bytes(text_format.Parse(MEASURE, descriptor_pb2.FileDescriptorSet()).SerializeToString())
    schema = f"{file}#acme.Measure"
    deployment = make_deployment(
        KafkaSettings(broker.bootstrap_servers),
        prism_location,
        schema,
        tmp_path / "deployment",
        record_format="protobuf",
        options={"record-schema": schema},
    )
    good = deployment.schema.codec.encode({"x": 1.5, "dataType": "m"})
    named = deployment.schema.codec.encode({"x": 2.5})
    try:
        deployment.publish("m", version_model(1), {"x": ("x",)}, data_type="m")
        deployment.publish("measures", version_model(2), {"x": ("x",)}, data_type="acme.Measure")
        deployment.start()
        offsets = deployment.send_bytes([good, good[:-1], named, b"\x0a\x01a"])
        results = deployment.results_of([offsets[0], offsets[2]])
        assert [one.values("version") for one in results] == [[1], [2]]
        assert [one.embedded for one in results] == [good, named]
        letters = deployment.dead_letters([offsets[1], offsets[3]])
        assert "not a acme.Measure record: it is truncated" in letters[offsets[1]].reason
        assert "field acme.Measure.x has wire type 2 instead of 1" in letters[offsets[3]].reason
    finally:
        deployment.close()
