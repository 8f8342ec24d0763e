from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from confluent_kafka import Producer

from models.errors import FenceLateError, PublishError, RouteError
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.history import read_history
from models.model_topic.publisher import ModelPublisher
from models.model_topic.route import Generation
from models.model_topic.route_changes import promoted, with_canary
from models.model_topic.route_publisher import RoutePublisher
from models.model_topic.transactions import TopicTransactions
from tests.models.conftest import Kafka


@pytest.fixture
def topic(kafka: Kafka) -> str:
    return kafka.topic("models", cleanup_policy="compact")


@pytest.fixture
def models(kafka: Kafka, topic: str) -> ModelPublisher:
    return ModelPublisher(kafka.settings, topic)


@pytest.fixture
def routes(kafka: Kafka, topic: str) -> RoutePublisher:
    return RoutePublisher(kafka.settings, topic)


def located(name: str = "m") -> ModelDescriptor:
    return ModelDescriptor(name, "fake", model_source_location="there")


def promote(version: int) -> Callable[[Generation | None], Generation]:
    return lambda before: promoted(before, "m", version)


def test_a_version_that_is_not_live_answers_when_a_route_names_it(
    models: ModelPublisher, routes: RoutePublisher
) -> None:
    models.publish(located())
    assert models.publish(located(), live=False).model_version == 2
    assert [one.state for one in models.versions()] == ["live", ""]
    routes.change("m", promote(2))
    route = routes.routes()["m"].route
    assert [[arm.label for arm in one.arms] for one in route.generations] == [["m/1"], ["m/2"]]
    assert route.generations[0].offset is not None
    assert models.publish(located()).model_version == 3


def test_a_fence_lies_ahead_and_is_readable_before_it(models: ModelPublisher, routes: RoutePublisher) -> None:
    models.publish(located())
    models.publish(located(), live=False)
    before = time.time() * 1000
    fence = routes.change("m", promote(2), lead=1.5).newest.fence
    assert fence is not None
    assert fence.timestamp is not None
    assert 1_500 <= fence.timestamp - before < 20_000
    assert routes.routes()["m"].route.newest.fence == fence


class Hanging:
    """A publisher that leaves its transaction open."""

    def __init__(self, kafka: Kafka, topic: str) -> None:
        self._producer = TopicTransactions(kafka.settings, topic).producer("hanging")
        self._topic = topic

    def begin(self) -> None:
        self._producer.begin_transaction()
        self._producer.produce(self._topic, b"", b"x/1", partition=0)
        self._producer.flush()

    def end(self) -> None:
        self._producer.abort_transaction()


def test_a_fence_is_put_off_while_the_transaction_of_another_publisher_hides_the_route(
    kafka: Kafka, topic: str, models: ModelPublisher, routes: RoutePublisher
) -> None:
    models.publish(located())
    models.publish(located(), live=False)
    hanging = Hanging(kafka, topic)
    began: list[float] = []

    def change(generation: Generation | None) -> Generation:
        hanging.begin()  # behind the reading of the catalog, which waits for open transactions
        began.append(time.time() * 1000)
        threading.Timer(2.0, hanging.end).start()
        return promoted(generation, "m", 2)

    route = routes.change("m", change, lead=1.0)
    assert route.newest.fence is not None
    assert route.newest.fence.timestamp is not None
    assert route.newest.fence.timestamp > began[0] + 2_000 + 900
    assert len(routes.routes()["m"].route.generations) == 2
    # Nothing that was put off has been visible, so that no worker can have acted on it.
    published = [one for one in read_history(kafka.settings, topic) if one.subject == "route/m"]
    assert len(published) == 1


def test_a_route_that_cannot_be_published_before_any_fence_is_unchanged(
    kafka: Kafka, topic: str, models: ModelPublisher, routes: RoutePublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.model_topic.route_publisher._ATTEMPT_SECONDS", 1.0)
    models.publish(located())
    models.publish(located(), live=False)
    routes.change("m", promote(1))
    before = routes.routes()
    hanging = Hanging(kafka, topic)

    def change(generation: Generation | None) -> Generation:
        hanging.begin()
        return promoted(generation, "m", 2)

    with pytest.raises(PublishError, match="is unchanged"):
        routes.change("m", change, lead=1.0)
    hanging.end()
    assert routes.routes() == before


def test_a_route_that_readers_see_too_late_is_told_with_the_records_in_doubt(
    models: ModelPublisher, routes: RoutePublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.publish(located())
    models.publish(located(), live=False)
    commit = Producer.commit_transaction

    class Slow:
        """A producer whose commit takes a long time."""

        def __init__(self, producer: Producer) -> None:
            self._producer = producer

        def __getattr__(self, name: str) -> object:
            return getattr(self._producer, name)

        def commit_transaction(self, seconds: float) -> None:
            time.sleep(1.2)
            commit(self._producer, seconds)

    original = TopicTransactions.producer
    monkeypatch.setattr(TopicTransactions, "producer", lambda self, name: Slow(original(self, name)))
    with pytest.raises(FenceLateError, match="holds, but") as late:
        routes.change("m", promote(2), lead=1.5)
    fence = routes.routes()["m"].route.newest.fence
    assert fence is not None
    assert fence.timestamp == late.value.fence
    assert late.value.until >= late.value.fence


def test_a_route_is_deleted_once(models: ModelPublisher, routes: RoutePublisher) -> None:
    models.publish(located())
    routes.change("m", promote(1))
    routes.remove("m")
    assert routes.routes() == {}
    with pytest.raises(PublishError, match="has no route"):
        routes.remove("m")


def test_an_unknown_version_and_a_fence_that_is_too_near_are_refused(
    models: ModelPublisher, routes: RoutePublisher
) -> None:
    models.publish(located())
    with pytest.raises(RouteError, match="no version 7"):
        routes.change("m", promote(7))
    with pytest.raises(RouteError, match="at least 1 s"):
        routes.change("m", promote(1), lead=0.5)
    assert routes.routes() == {}


def test_the_history_tells_what_happened_in_turn(
    kafka: Kafka, topic: str, models: ModelPublisher, routes: RoutePublisher
) -> None:
    models.publish(located())
    models.publish(located(), live=False)

    def canary(before: Generation | None) -> Generation:
        assert before is not None
        return with_canary(before, "m", 2, 0.25)

    routes.change("m", canary)
    routes.remove("m")
    models.retire("m")
    told = [(one.subject, one.change) for one in read_history(kafka.settings, topic)]
    assert told == [
        ("m", "version 1 was published"),
        ("m", "version 1 is live"),
        ("m", "version 2 was published"),
        ("m", "version 1 is live"),
        ("route/m", "live m/1 75 %; candidate canary m/2 25 %"),
        ("route/m", "the route was deleted"),
        ("m", "was retired"),
    ]
