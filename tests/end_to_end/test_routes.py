"""Routes: which of several models answers a record, on Prism and under load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.campaigns import fenced_switches
from tests.end_to_end.conftest import Deploy

SaveVersion = Callable[..., Path]


def test_no_result_is_on_the_wrong_side_of_a_fence_although_the_pipeline_is_killed(
    deploy: Deploy, version_model: SaveVersion
) -> None:
    deployment = deploy(partitions=2)

    def kill_and_start(_: int) -> None:
        assert deployment.process is not None
        deployment.process.kill()
        deployment.start()

    models = [version_model(number) for number in (1, 2, 3, 4)]
    outcome = fenced_switches.run(deployment, models, 24, kill_and_start, rounds=2)
    assert outcome.switches == 24
    assert not outcome.wrong
    assert not outcome.unanswered
    print(f"\n{outcome.results} results of {outcome.records} records at {outcome.switches} fences")
