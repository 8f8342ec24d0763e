"""Several record topics in one deployment: each has a schema and a format; graph, registry and results are shared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from models.records.record_type import RecordType
from models.results.decoder import ResultDecoder, decode_any
from tests.end_to_end.conftest import Deploy
from tests.end_to_end.kafka_tail import KafkaTail

WINE = RecordType.named("wine")
TRANSACTION = RecordType.named("transaction", "json")


def wine(lot: str) -> bytes:
    measures = {name: 1.0 for name in WINE.codec.fields.names if name != "lot_id"}
    return WINE.codec.encode({"lot_id": lot, **measures})


def test_each_topic_is_read_by_its_own_schema_and_format_and_scored_by_the_models_of_its_data_type(
    deploy: Deploy, version_model: Callable[..., Path]
) -> None:
    deployment = deploy("wine")
    deployment.make_topic("transactions")
    listed = [
        {"topic": deployment.topic("records"), "schema": "wine"},
        {"topic": deployment.topic("transactions"), "schema": "transaction", "format": "json"},
    ]
    deployment.publish("wine", version_model(1), {"x": ("alcohol",)})
    deployment.publish("transaction", version_model(1), {"x": ("v1",)})
    deployment.start(records_topic=None, record_schema=None, record_format=None, records=listed)
    transaction = json.dumps({"transaction_id": "t", "v1": 2.5}).encode()
    deployment.send_bytes([wine("a"), b"\xff"])
    deployment.send_bytes([transaction, b"no JSON"], kind="transactions")
    decoders = [ResultDecoder(one.codec.embedding) for one in (WINE, TRANSACTION)]

    tail = KafkaTail(deployment.kafka, deployment.topic("results"))

    def results() -> dict[str, tuple[str, int | None]]:
        tail.poll()
        found = [decode_any(decoders, message.value() or b"") for message in tail.messages]
        metadata = [one["modelResultMetadata"] for one in found]
        return {one["topic"]: (one["modelName"], one["modelVersion"]) for one in metadata}

    expected = {deployment.topic("records"): ("wine", 1), deployment.topic("transactions"): ("transaction", 1)}
    deployment.eventually(lambda: results() == expected, "a result of each topic")
    tail.close()
    deployment.eventually(
        lambda: {one.topic for one in deployment.all_dead_letters()} == set(expected), "a dead letter of each topic"
    )
    deployment.eventually(
        lambda: deployment.committed() == 2 and deployment.committed("transactions") == 2, "both topics are committed"
    )
