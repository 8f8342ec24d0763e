"""The guards of a deployment on a real broker: one acts, another replaces it, and two at once do no harm."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import Producer

from models.guarding.guard import RouteGuard
from models.guarding.verdicts import Verdict
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.guardrails import Guardrails
from models.model_topic.history import read_history
from models.model_topic.publisher import ModelPublisher
from models.model_topic.route import Generation
from models.model_topic.route_changes import with_canary
from models.model_topic.route_publisher import RoutePublisher
from models.status.arm_tallies import ArmStatistics
from models.status.events import StatusEvent
from tests.models.conftest import Kafka

WAIT = 60.0
LIMITS = Guardrails(steps=(0.1, 0.5, 1.0), min_records=100)


@pytest.fixture
def topics(kafka: Kafka) -> tuple[str, str]:
    """The models topic, with a canary that has guardrails, and the status topic."""
    models, status = kafka.topic("models", cleanup_policy="compact"), kafka.topic("status")
    publisher = ModelPublisher(kafka.settings, models)
    for live in (True, False):
        publisher.publish(ModelDescriptor("m", "fake", model_source_location="there"), live=live)

    def canary(before: Generation | None) -> Generation:
        assert before is not None
        return with_canary(before, "m", 2, 0.1, LIMITS)

    RoutePublisher(kafka.settings, models).change("m", canary)
    return models, status


@pytest.fixture
def guards(kafka: Kafka, topics: tuple[str, str]) -> Iterator[list[RouteGuard]]:
    """Two guards of one deployment, not yet started."""
    made = [
        RouteGuard(kafka.settings, *topics, f"group-of-{topics[0]}", lambda _: True, lambda: True) for _ in range(2)
    ]
    yield made
    for guard in made:
        guard.close()


@pytest.fixture
def newest(kafka: Kafka, topics: tuple[str, str]) -> Callable[[], Generation]:
    """The newest state of the route."""
    routes = RoutePublisher(kafka.settings, topics[0])
    return lambda: routes.routes()["m"].route.newest


def report_until_decided(producer: Producer, topics: tuple[str, str], newest: Callable[[], Generation]) -> Generation:
    """Reports good figures for the candidate, as a worker does each second, until there is a decision."""
    before, deadline = newest(), time.monotonic() + WAIT
    assert before.offset is not None
    good = ArmStatistics("m", before.offset, before.arms[-1].name, 200, 0, 200, 200)
    event = StatusEvent.of_candidate(good, "worker", f"group-of-{topics[0]}")
    while (now := newest()).offset == before.offset:
        assert time.monotonic() < deadline, "no decision"
        producer.produce(topics[1], event.to_json())
        producer.flush(10)
        time.sleep(0.2)
    return now


def acting_one(guards: list[RouteGuard]) -> RouteGuard:
    """The guard that acts, once exactly one does: none acts while the group rebalances."""
    deadline = time.monotonic() + WAIT
    while len(acting := [guard for guard in guards if guard._acting]) != 1:
        assert time.monotonic() < deadline, f"{len(acting)} guards act"
        time.sleep(0.05)
    return acting[0]


def decisions(kafka: Kafka, models_topic: str) -> int:
    """The number of guards' decisions in the models topic."""
    return sum("m/2 from" in one.change for one in read_history(kafka.settings, models_topic))


def test_one_guard_acts_and_another_goes_on_where_it_ends(
    kafka: Kafka,
    topics: tuple[str, str],
    guards: list[RouteGuard],
    newest: Callable[[], Generation],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "models.guarding.guard")
    for guard in guards:
        guard.start()
    producer = kafka.settings.producer()
    acting_one(guards)
    for malformed in (b"{", b'{"kind": "candidate", "at": "now", "worker": "w"}', None):
        producer.produce(topics[1], malformed)
    first = report_until_decided(producer, topics, newest)
    assert [one.getMessage().partition(": ")[0] for one in caplog.records] == [
        f"message 1 of topic {topics[1]} skipped"
    ]
    assert first.note.startswith("m/2 from 10 % to 50 %")
    acting_one(guards).close()
    second = report_until_decided(producer, topics, newest)
    assert second.note.startswith("m/2 from 50 % to 100 %")
    assert [arm.label for arm in second.arms] == ["m/2"]
    assert decisions(kafka, topics[0]) == 2  # none was made twice


def test_two_guards_that_act_at_once_publish_one_decision(
    kafka: Kafka, topics: tuple[str, str], guards: list[RouteGuard], newest: Callable[[], Generation]
) -> None:
    judged, together = newest(), threading.Barrier(2)

    def decide(guard: RouteGuard) -> None:
        together.wait(WAIT)
        guard._publish("m", judged, judged.arms[-1], Verdict("forward", "by its figures"))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(decide, guards))
    assert newest().note == "m/2 from 10 % to 50 %: by its figures"
    assert decisions(kafka, topics[0]) == 1
