"""A pipeline that is killed and restarted while records arrive all the time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.end_to_end.conftest import Deploy
from tests.end_to_end.deployment import Deployment
from tests.end_to_end.test_updates import X, record

SaveVersion = Callable[..., Path]
PARTITIONS = 2


def require_committed_is_acknowledged(deployment: Deployment) -> None:
    """Checks that every record below the committed offset, which is read first, has its result in the topic now."""
    committed = [deployment.committed(partition=partition) for partition in range(PARTITIONS)]
    there = {result.where for result in deployment.results_to_the_end()}
    for partition, end in enumerate(committed):
        missing = [offset for offset in range(end) if (partition, offset) not in there]
        assert not missing, f"partition {partition}: committed {end}, but no results of {missing[:5]}"


def test_no_record_is_lost_by_kill_and_restart_and_none_meets_an_older_model(
    deploy: Deploy, version_model: SaveVersion
) -> None:
    deployment = deploy(partitions=PARTITIONS)
    name = "restart"
    for version in (1, 2):
        deployment.publish(name, version_model(version), X, inline=version == 1)
    with deployment.records_coming(record(name), a_second=500) as sent:
        for _ in range(2):
            process = deployment.start()
            seen = len(deployment.results_to_the_end())
            deployment.eventually(
                lambda seen=seen: len(deployment.results_to_the_end()) >= seen + 1_500,  # type: ignore[misc]
                "records are scored",
            )
            for _ in range(10):
                require_committed_is_acknowledged(deployment)
            process.kill()
            require_committed_is_acknowledged(deployment)
        # While the pipeline is down, the model advances: the next start must begin with the newest version.
        deployment.publish(name, version_model(3), X)
        from_here = [len(offsets) for offsets in sent]
        deployment.start()
        deployment.results_of([from_here[0] + 500])
    results = deployment.results_of_all(sent)
    assert len(results) == sum(map(len, sent))
    assert all(result.error is None for result in results)
    everything = deployment.results_to_the_end()
    assert all(result.values("version") == [result.version] for result in everything)
    # In the results topic, the third start's results come after all others: 1 is never seen, 2 never after 3.
    versions = [version for version, _ in itertools.groupby(result.version for result in everything)]
    assert versions == [2, 3]
    print(f"\n{len(everything) - len(results)} duplicates among {len(everything)} results of {PARTITIONS} kills")


def test_the_group_is_committed_to_the_end_and_a_restart_scores_nothing_again(deploy: Deploy) -> None:
    deployment = deploy()
    process = deployment.start()
    offsets = deployment.send([record("any")] * 100)
    deployment.results_of(offsets)
    deployment.eventually(lambda: deployment.committed() == 100, "all is committed")
    assert process.stop() == 0
    deployment.start()
    deployment.score(record("any"))
    assert [result.where for result in deployment.results_to_the_end()] == [(0, offset) for offset in range(101)]


def test_a_killed_pipeline_leaves_no_process(deploy: Deploy) -> None:
    deployment = deploy()
    process = deployment.start()
    deployment.score(record("any"))
    family = process.family()
    assert len(family) > 1, "Prism is a process of its own"
    process.kill()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


def test_a_stopped_pipeline_leaves_no_process_and_ends_with_0(deploy: Deploy) -> None:
    deployment = deploy()
    process = deployment.start()
    deployment.score(record("any"))
    family = process.family()
    assert process.stop() == 0
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
