"""The pipeline on a cluster: updates, parallelism, added partitions, and the embedded Flink."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from confluent_kafka.admin import NewPartitions

from models.records.record_type import RecordFormat
from runners.flink.cluster import LocalFlinkCluster
from tests.end_to_end.deployment import Deployment
from tests.end_to_end.flink.conftest import DeployOnFlink
from tests.end_to_end.test_updates import X, record

SaveVersion = Callable[..., Path]
MakeCluster = Callable[..., LocalFlinkCluster]
UPDATES = 10


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("parallelism", "record_format"), [(1, "avro"), (2, "json")])
def test_ten_updates_under_load_and_every_record_has_a_result_of_the_version_that_it_names(
    make_cluster: MakeCluster,
    deploy: DeployOnFlink,
    version_model: SaveVersion,
    parallelism: int,
    record_format: RecordFormat,
) -> None:
    deployment = deploy(make_cluster(slots=parallelism), parallelism, record_format=record_format)
    deployment.publish("m", version_model(1), X)
    process = deployment.start()
    with deployment.records_coming(record("m"), a_second=100) as sent:
        deployment.wait_for_more_results()
        # Those that were due before all tasks ran count as failed.
        failed = deployment.checkpoints()["failed"]
        for version in range(1, UPDATES + 2):
            if version > 1:
                # In turns: in the stream, and by location.
                deployment.publish("m", version_model(version), X, inline=version % 2 == 0)
            deployment.eventually(
                lambda version=version: deployment.score(record("m"))[0].version == version,  # type: ignore[misc]
                f"version {version} scores",
            )
    results = deployment.results_of_all(sent)
    assert len(results) == sum(map(len, sent))
    assert {result.version for result in results} == set(range(1, UPDATES + 2))
    assert all(result.error is None and result.values("version") == [result.version] for result in results)
    deployment.wait_for_checkpoint()
    assert deployment.checkpoints()["failed"] == failed
    deployment.eventually(
        lambda: all(deployment.committed(partition=partition) > sent[partition][-1] for partition in range(4)),
        "all is committed to the consumer group",
    )
    job_id = deployment.job_id()
    assert process.stop() == 0
    assert deployment.rest.job_state(job_id) == "CANCELED"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_partition_that_is_added_is_read_and_the_operators_have_readable_names(
    make_cluster: MakeCluster, deploy: DeployOnFlink, version_model: SaveVersion
) -> None:
    deployment = deploy(make_cluster(slots=2), 2)
    deployment.publish("m", version_model(1), X)
    deployment.start()
    deployment.score(record("m"))
    names = [vertex["name"] for vertex in deployment.rest.ask("GET", f"jobs/{deployment.job_id()}")["vertices"]]
    for step in ("ReadPartitions", "Score", "WriteResults", "CommitOffsets"):
        assert any(step in name for name in names), names
    deployment.admin.create_partitions([NewPartitions(deployment.topic("records"), 5)])[
        deployment.topic("records")
    ].result(30)
    deployment.refresh_producer()
    (result,) = deployment.score(record("m"), partition=4)
    assert (result.where, result.version) == ((4, 0), 1)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_without_a_cluster_flink_is_embedded_and_ends_with_the_run(
    deploy: DeployOnFlink, make_cluster: MakeCluster, version_model: SaveVersion, job_server: str
) -> None:
    deployment = deploy(make_cluster())
    deployment.publish("m", version_model(1), X)
    process = Deployment.start(deployment, runner="FlinkRunner", runner_options=["--checkpointing_interval=2000"])
    (result,) = deployment.score(record("m"))
    assert (result.version, result.error) == (1, None)
    family = process.family()
    assert any("java" in one.name() for one in family)
    assert process.stop() == 0
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
