"""A bandit learns from the feedback topic while records arrive, on Prism."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from models.model_topic.graph_encoding import graph_of
from models.model_topic.route import Arm, Generation, Segment
from models.model_topic.route_publisher import RoutePublisher
from tests.campaigns.fenced_switches import NAME, ROW, publish_versions
from tests.end_to_end.conftest import Deploy
from tests.end_to_end.deployment import Result

CHOICES = [{"model": NAME, "version": 1}, {"model": NAME, "version": 2}]
GRAPH = graph_of("tried", {"steps": [{"name": "best", "bandit": "thompson", "choices": CHOICES}], "output": "best"})


def answered_by(result: Result) -> tuple[str, int]:
    """The model that the bandit has chosen, according to the result."""
    (step,) = result.metadata["steps"]
    assert step["name"] == "best"
    return step["modelName"], step["modelVersion"]


def test_a_bandit_gives_its_records_to_the_model_that_is_rewarded(
    deploy: Deploy, version_model: Callable[..., Path]
) -> None:
    deployment = deploy()
    publish_versions(deployment, [version_model(1), version_model(2)])
    deployment.make_topic("feedback")
    routes = RoutePublisher(deployment.kafka, deployment.topic("models"))
    generation = Generation((Segment((Arm("live", "", graph="tried"),)),), graphs=(GRAPH,))
    routes.change(NAME, lambda _: generation)
    deployment.start(feedback_topic=deployment.topic("feedback"))
    first = deployment.score(*[ROW] * 200)
    versions = [answered_by(one)[1] for one in first]
    assert all(one.error is None for one in first)
    assert [one.values("version") for one in first] == [[version] for version in versions]
    assert min(versions.count(1), versions.count(2)) > 50  # nothing is known yet
    producer = deployment.kafka.producer()
    for one in first:
        model, version = answered_by(one)
        value = {"graph": "tried", "step": "best", "model": model, "version": version, "reward": int(version == 2)}
        key = "{topic}-{partition}-{offset}".format(**one.metadata)
        producer.produce(deployment.topic("feedback"), json.dumps(value).encode(), key.encode())
    assert producer.flush(30) == 0

    def has_learnt() -> bool:
        results = deployment.score(*[ROW] * 100)
        return sum(answered_by(one)[1] == 2 for one in results) >= 95

    deployment.eventually(has_learnt, "the rewarded model answers")
