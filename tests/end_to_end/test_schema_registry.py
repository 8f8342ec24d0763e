"""Records and results with a schema registry, end to end on Prism."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from models.kafka.client import KafkaSettings
from runners.local.kafka_broker import LocalBroker
from runners.local.schema_registry import LocalSchemaRegistry
from tests.end_to_end.deployment import Deployment
from tests.end_to_end.schema_mix import X, check_mixed_schemas, reader_type

SaveVersion = Callable[..., Path]


def test_a_topic_may_mix_schemas_and_any_client_reads_the_results(
    broker: LocalBroker,
    schema_registry: LocalSchemaRegistry,
    prism_location: Path,
    version_model: SaveVersion,
    tmp_path: Path,
) -> None:
    deployment = Deployment(
        KafkaSettings(broker.bootstrap_servers),
        reader_type(schema_registry.url),
        {
            "runner-options": [f"--prism_location={prism_location}"],
            "schema-registry": schema_registry.url,
            "record-schema": None,
        },
        tmp_path / "deployment",
    )
    try:
        check_mixed_schemas(
            deployment, schema_registry.url, lambda: deployment.publish("m", version_model(1), X, data_type="m")
        )
        (line,) = console(deployment, schema_registry.url, "--last", "1", "--json").splitlines()
        assert json.loads(line)["inputRecord"]["added"] == "a"
    finally:
        deployment.close()


def console(deployment: Deployment, url: str, *words: str) -> str:
    """The output of `beam-serving results`, without a record schema: results name theirs."""
    command = [
        *(sys.executable, "-m", "beam_pipeline", "results", "--record-format", "confluent-avro"),
        *("--bootstrap-servers", deployment.kafka.bootstrap_servers, "--results-topic", deployment.topic("results")),
        *("--schema-registry", url),
    ]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
