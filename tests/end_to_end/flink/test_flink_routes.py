"""Routes on Flink: each record has its rightful arm, also when a worker is killed and when the parallelism changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runners.flink.cluster import LocalFlinkCluster
from tests.campaigns.fenced_switches import Campaign, run
from tests.end_to_end.flink.conftest import DeployOnFlink

SaveVersion = Callable[..., Path]
MakeCluster = Callable[..., LocalFlinkCluster]


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_each_record_is_answered_by_its_rightful_arm_by_every_worker(
    make_cluster: MakeCluster, deploy: DeployOnFlink, version_model: SaveVersion
) -> None:
    cluster = make_cluster(slots=2)
    deployment = deploy(cluster, 1)

    def start() -> None:
        deployment.start(f"--savepoint-on-stop={cluster.savepoint_folder.as_uri()}")

    def disturb(number: int) -> None:
        deployment.wait_for_more_results()  # the workers of the round run
        if number:
            cluster.kill_worker()
            return
        process = deployment.process
        assert process is not None
        assert process.stop() == 0
        (savepoint,) = cluster.savepoint_folder.iterdir()
        deployment.parallelism = 2
        deployment.start(f"--savepoint_path={savepoint.as_uri()}")

    models = [version_model(number) for number in (1, 2, 3)]
    outcome = run(deployment, models, Campaign(changes=30, rounds=2, most_arms=3, a_second=100), start, disturb)
    print(f"\n{outcome}")
    assert outcome.changes == 30
    assert not outcome.wrong
    assert not outcome.unanswered
    assert outcome.worst_share < 5
