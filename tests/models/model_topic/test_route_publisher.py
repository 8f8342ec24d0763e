from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from models.errors import PublishError, RouteError
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


def test_a_fence_behind_an_open_transaction_is_moved_until_it_can_be_read_in_time(
    kafka: Kafka, topic: str, models: ModelPublisher, routes: RoutePublisher
) -> None:
    models.publish(located())
    models.publish(located(), live=False)
    transactions = TopicTransactions(kafka.settings, topic)
    catalog = transactions.read()
    producer = transactions.producer("route/m")
    hanging = transactions.producer("hanging")
    hanging.begin_transaction()
    hanging.produce(topic, b"", b"x/1", partition=0)
    hanging.flush()
    first = time.time() * 1000
    seen: list[float] = []

    def visible(route: object, position: int, until: int, ask: Callable[..., bool] = routes._is_visible) -> bool:
        seen.append(until)
        found = ask(route, position, until)
        if len(seen) == 2:
            hanging.abort_transaction()
        return found

    routes._is_visible = visible  # type: ignore[method-assign]
    route = routes._write_fenced(producer, catalog, "m", promoted(None, "m", 2), 1.0)
    assert route.newest.fence is not None
    assert route.newest.fence.timestamp is not None
    assert len(seen) >= 3
    assert route.newest.fence.timestamp - first > 1_000 + 2 * 300
    assert len(routes.routes()["m"].route.generations) == 2


@pytest.mark.parametrize("routed", [False, True])
def test_a_route_that_cannot_be_read_before_any_fence_is_put_back(
    kafka: Kafka, topic: str, models: ModelPublisher, routes: RoutePublisher, routed: bool
) -> None:
    models.publish(located())
    models.publish(located(), live=False)
    if routed:
        routes.change("m", promote(1))
    before = {name: one.route for name, one in routes.routes().items()}
    hanging = TopicTransactions(kafka.settings, topic).producer("hanging")

    def change(generation: Generation | None) -> Generation:
        # Behind the reading of the catalog, which waits for open transactions.
        hanging.begin_transaction()
        hanging.produce(topic, b"", b"x/1", partition=0)
        hanging.flush()
        return promoted(generation, "m", 2)

    with pytest.raises(PublishError, match="is as it was"):
        routes.change("m", change, lead=1.0)
    hanging.abort_transaction()
    assert {name: one.route for name, one in routes.routes().items()} == before


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
