"""Pipelines on a real Flink cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from models.kafka.client import KafkaSettings
from models.records.record_type import RecordFormat, RecordType
from runners.flink.cluster import FlinkClusterSettings, LocalFlinkCluster
from runners.flink.jars import job_server_jar
from runners.local.kafka_broker import LocalBroker
from tests.end_to_end.flink.flink_deployment import FlinkDeployment

PARTITIONS = 4


class DeployOnFlink(Protocol):
    """Creates the topics of a deployment on a cluster, and returns it; its `start` submits the job."""

    def __call__(
        self,
        cluster: LocalFlinkCluster,
        parallelism: int = 1,
        schema: str = "recommender",
        record_format: RecordFormat = "avro",
        **options: Any,
    ) -> FlinkDeployment: ...


@pytest.fixture(scope="session")
def job_server() -> str:
    """The job server's jar, built before any test measures time."""
    return job_server_jar()


@pytest.fixture
def make_cluster(tmp_path: Path) -> Iterator[Callable[..., LocalFlinkCluster]]:
    """Clusters of one test, which end with it."""
    made: list[LocalFlinkCluster] = []

    def make(**settings: Any) -> LocalFlinkCluster:
        folder = tmp_path / f"cluster-{len(made)}"
        made.append(LocalFlinkCluster(FlinkClusterSettings(work_folder=folder, **settings)))
        made[-1].start()
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()


@pytest.fixture
def deploy(broker: LocalBroker, job_server: str, tmp_path: Path) -> Iterator[DeployOnFlink]:
    """Deployments of one test, which end with it."""
    made: list[FlinkDeployment] = []

    def make(
        cluster: LocalFlinkCluster,
        parallelism: int = 1,
        schema: str = "recommender",
        record_format: RecordFormat = "avro",
        **options: Any,
    ) -> FlinkDeployment:
        made.append(
            FlinkDeployment(
                KafkaSettings(broker.bootstrap_servers),
                RecordType.named(schema, record_format),
                options,
                tmp_path / f"deployment-{len(made)}",
                partitions=PARTITIONS,
                cluster=cluster,
                parallelism=parallelism,
            )
        )
        return made[-1]

    yield make
    for deployment in made:
        deployment.close()
