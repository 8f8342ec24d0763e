"""Routes on Flink: each record reaches the right arm, even when a worker is killed or the parallelism changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runners.flink.cluster import LocalFlinkCluster
from tests.campaigns.fenced_switches import Campaign, run
from tests.campaigns.on_flink import FlinkDisturbances
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

    # First the parallelism changes, then a worker is killed.
    disturbances = FlinkDisturbances(cluster, deployment, rescale_every=2)
    models = [version_model(number) for number in (1, 2, 3)]
    campaign = Campaign(changes=30, rounds=2, most_arms=3, a_second=100)
    outcome = run(deployment, models, campaign, disturbances.start, disturbances.disturb)
    assert deployment.parallelism == 2
    print(f"\n{outcome}")
    assert outcome.changes == 30
    assert not outcome.wrong
    assert not outcome.unanswered
    assert outcome.worst_share < 5
