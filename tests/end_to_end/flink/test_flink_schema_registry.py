"""Records and results with a schema registry, on a Flink cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from models.kafka.client import KafkaSettings
from runners.flink.cluster import LocalFlinkCluster
from runners.local.kafka_broker import LocalBroker
from runners.local.schema_registry import LocalSchemaRegistry
from tests.end_to_end.flink.flink_deployment import FlinkDeployment
from tests.end_to_end.schema_mix import X, check_mixed_schemas, reader_type


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_topic_may_mix_schemas_and_any_client_reads_the_results(
    broker: LocalBroker,
    job_server: str,
    schema_registry: LocalSchemaRegistry,
    make_cluster: Callable[..., LocalFlinkCluster],
    version_model: Callable[..., Path],
    tmp_path: Path,
) -> None:
    deployment = FlinkDeployment(
        KafkaSettings(broker.bootstrap_servers),
        reader_type(schema_registry.url),
        {"schema-registry": schema_registry.url, "record-schema": None},
        tmp_path / "deployment",
        cluster=make_cluster(),
    )
    try:
        check_mixed_schemas(
            deployment, schema_registry.url, lambda: deployment.publish("m", version_model(1), X, data_type="m")
        )
    finally:
        deployment.close()
