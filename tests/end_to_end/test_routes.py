"""Routes: which of several models answers a record, on Prism and under load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from models.model_topic.route import Generation
from models.model_topic.route_changes import with_shadow
from models.model_topic.route_publisher import RoutePublisher
from tests.campaigns.fenced_switches import NAME, ROW, Campaign, publish_versions, run
from tests.end_to_end.conftest import Deploy
from tests.end_to_end.kafka_tail import KafkaTail

SaveVersion = Callable[..., Path]


def test_each_record_is_answered_by_its_rightful_arm_although_the_pipeline_is_killed(
    deploy: Deploy, version_model: SaveVersion
) -> None:
    deployment = deploy(partitions=2)

    def kill_and_start(_: int) -> None:
        assert deployment.process is not None
        deployment.process.kill()
        deployment.start()

    models = [version_model(number) for number in (1, 2, 3, 4)]
    outcome = run(deployment, models, Campaign(changes=30, rounds=2, most_arms=3), deployment.start, kill_and_start)
    print(f"\n{outcome}")
    assert outcome.changes == 30
    assert not outcome.wrong
    assert not outcome.unanswered
    assert outcome.worst_share < 5


def test_a_shadow_answers_to_the_shadow_topic_only(deploy: Deploy, version_model: SaveVersion) -> None:
    deployment = deploy()
    deployment.make_topic("shadows")
    publish_versions(deployment, [version_model(1), version_model(2)])
    deployment.start(shadow_topic=deployment.topic("shadows"))
    deployment.score(ROW)

    def beside_live(live: Generation | None) -> Generation:
        assert live is not None
        return with_shadow(live, NAME, 2, 1.0)

    RoutePublisher(deployment.kafka, deployment.topic("models")).change(
        NAME,
        beside_live,
    )
    deployment.status("serving", NAME, 2)
    results = deployment.score(*[ROW] * 100)
    assert {(one.version, one.metadata["arm"], one.metadata["role"]) for one in results} == {(1, "live", "serve")}
    tail = KafkaTail(deployment.kafka, deployment.topic("shadows"))
    try:
        assert tail.until(lambda: len(tail.messages) >= 100)
        shadows = [deployment._decode(message) for message in tail.messages]
    finally:
        tail.close()
    last = {one.where: one for one in shadows}
    assert {one.where for one in results} <= set(last)
    assert {(one.version, one.metadata["role"]) for one in shadows} == {(2, "shadow")}
    assert all(one.version == 1 for one in deployment.results_to_the_end())
