"""A cluster recovers from kills: no record lacks a result, and none is scored by a model older than the newest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runners.flink.cluster import LocalFlinkCluster
from tests.end_to_end.flink.conftest import DeployOnFlink
from tests.end_to_end.flink.flink_deployment import FlinkDeployment, duplicates, longest_gap
from tests.end_to_end.test_updates import X, record

SaveVersion = Callable[..., Path]
MakeCluster = Callable[..., LocalFlinkCluster]
Break = Callable[[LocalFlinkCluster], object]

# Records a second over all partitions.
RATE = 400


def kill_worker(cluster: LocalFlinkCluster) -> None:
    cluster.kill_worker()


def kill_task_manager(cluster: LocalFlinkCluster) -> None:
    cluster.kill_task_manager()
    cluster.start_task_manager()


def kill_job_manager(cluster: LocalFlinkCluster) -> None:
    cluster.kill_job_manager()
    cluster.start_job_manager()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kill", [kill_worker, kill_task_manager, kill_job_manager])
def test_nothing_is_lost_by_a_kill_and_what_restarts_begins_with_the_newest_model(
    make_cluster: MakeCluster, deploy: DeployOnFlink, version_model: SaveVersion, kill: Break
) -> None:
    available = {"high_availability": True} if kill is kill_job_manager else {}
    cluster = make_cluster(slots=2, **available)
    deployment = deploy(cluster, 2)
    deployment.publish("m", version_model(1), X)
    process = deployment.start()
    with deployment.records_coming(record("m"), a_second=100) as sent:
        deployment.wait_for_more_results()
        deployment.wait_for_checkpoint()
        # Newer than the checkpoint that is restored: no record may meet version 1 again after the restart.
        deployment.publish("m", version_model(2), X)
        # Each worker process loads it for itself.
        deployment.eventually(
            lambda: {result.version for result in deployment.results_to_the_end()[-RATE:]} == {2}, "version 2 scores"
        )
        finished = {result.where for result in deployment.results_to_the_end()}
        deployment.wait_for_whole_checkpoint()
        before = len(deployment.results_to_the_end())
        kill(cluster)
        deployment.wait_for_restore()
        restarted = [len(offsets) + RATE for offsets in sent]
        deployment.eventually(lambda: all(len(one) > end for one, end in zip(sent, restarted, strict=True)), "records")
    results = deployment.results_of_all(sent)
    require_truth(deployment, before)
    assert len(results) == sum(map(len, sent))
    require_no_repetition(deployment, finished, before, kill.__name__)
    assert process.runs(), process.log()[-2000:]
    assert process.stop() == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_savepoint_goes_on_with_another_parallelism_and_scores_nothing_again(
    make_cluster: MakeCluster, deploy: DeployOnFlink, version_model: SaveVersion
) -> None:
    cluster = make_cluster(slots=2)
    deployment = deploy(cluster, 1)
    deployment.publish("m", version_model(1), X)
    process = deployment.start(f"--savepoint-on-stop={cluster.savepoint_folder.as_uri()}")
    with deployment.records_coming(record("m"), a_second=100) as sent:
        deployment.wait_for_more_results()
        finished = {result.where for result in deployment.results_to_the_end()}
        assert process.stop() == 0
        (savepoint,) = cluster.savepoint_folder.iterdir()
        assert savepoint.as_uri() in process.log().replace("file:/", "file:///").replace("file://///", "file:///")
        # While the pipeline is away the model goes on.
        deployment.publish("m", version_model(2), X)
        before = len(deployment.results_to_the_end())
        deployment.parallelism = 2
        deployment.start(f"--savepoint_path={savepoint.as_uri()}")
        deployment.wait_for_more_results()
    results = deployment.results_of_all(sent)
    assert len(results) == sum(map(len, sent))
    require_truth(deployment, before)
    # The stream goes on until the savepoint is complete, and what comes in that time is scored again.
    require_no_repetition(deployment, finished, before, "savepoint")


def require_truth(deployment: FlinkDeployment, before: int) -> None:
    """Checks that no result is wrong, and that those after the first `before` are of version 2."""
    everything = deployment.results_to_the_end()
    assert all(result.error is None and result.values("version") == [result.version] for result in everything)
    assert {result.version for result in everything[before:]} == {2}, "after a restart only the newest model scores"


def require_no_repetition(deployment: FlinkDeployment, finished: set[tuple[int, int]], before: int, what: str) -> None:
    """Checks that no record with a result before the checkpoint was scored again after the first `before` results."""
    everything = deployment.results_to_the_end()
    again = duplicates(everything)
    gap = longest_gap(everything)
    print(f"\n{what}: {again} duplicates among {len(everything)} results; {gap:.1f} s without a result")
    repeated = finished & {result.where for result in everything[before:]}
    assert not repeated, "the checkpoint does not hold what had been finished before it was taken"
