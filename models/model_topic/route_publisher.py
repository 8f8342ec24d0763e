"""Publishes routes to the models topic."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Literal

from confluent_kafka import Producer

from models.errors import FenceLateError, PublishError
from models.kafka.client import KafkaSettings
from models.model_topic.catalog import ModelCatalog
from models.model_topic.fences import FRESHNESS_MILLISECONDS, VISIBLE_MILLISECONDS, check_lead
from models.model_topic.names import route_key
from models.model_topic.published import PublishedRoute
from models.model_topic.reader import ModelsTopicReader
from models.model_topic.route import Fence, Generation, ModelRoute
from models.model_topic.route_changes import check_versions, current_generation
from models.model_topic.route_encoding import encode_route
from models.model_topic.transactions import TopicTransactions

# Longer than the transaction of a killed publisher stays open.
_ATTEMPT_SECONDS = 40.0
_PAUSE_SECONDS = 0.1
_POLL_SECONDS = 0.02
# The duration of a commit, with a margin.
_COMMIT_MILLISECONDS = 100

Change = Callable[[Generation | None], Generation]
Origin = Literal["person", "file", "guard"]
"""The origin of a change to a route. A route remembers the declaration of a file until a person changes it, so that
applying the file again does not undo the later decisions of a guard."""


class RoutePublisher:
    """Changes the routes of data types.

    Args:
      kafka: the brokers.
      topic: the models topic, which must exist.
    """

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._transactions = TopicTransactions(kafka, topic)

    def routes(self) -> dict[str, PublishedRoute]:
        """The routes that are published now, by data type; raises as `TopicTransactions.read` does."""
        return self._transactions.read().routes

    def change(
        self, data_type: str, change: Change, lead: float | None = None, origin: Origin = "person"
    ) -> ModelRoute:
        """Publishes the next generation of a route, and returns the route.

        Args:
          data_type: the data type of the records.
          change: returns the next generation, given the newest one, or None if there is neither a route nor a live
            model. If it sets a fence itself, that one is kept; its position is then the caller's responsibility.
          lead: the number of seconds from now to the fence; None for a generation without a fence, which takes effect
            as soon as its models are loaded.
          origin: the origin of the change.

        Raises:
          RouteError: the generation contradicts itself, or names an unknown model.
          PublishError: another publisher was faster, or the route could not be published early enough before its fence.
          FenceLateError: the route was published, but readers could not see it early enough before its fence.
          ModelsTopicError, KafkaUnreachableError: the topic cannot be used.
        """
        if lead is not None:
            check_lead(lead)
        producer = self._transactions.producer(route_key(data_type).decode())
        catalog = self._transactions.read()
        generation = change(current_generation(catalog, data_type))
        check_versions(generation, catalog)
        if lead is None:
            route = next_route(catalog, data_type, generation, origin)
            self._write(producer, route)
            return route
        return self._write_fenced(producer, catalog, data_type, generation, lead, origin)

    def remove(self, data_type: str) -> None:
        """Deletes a route: the live models of the data type answer its records again, as soon as they are loaded.

        Raises as `change` does.
        """
        producer = self._transactions.producer(route_key(data_type).decode())
        if data_type not in self._transactions.read().routes:
            raise PublishError(f"data type {data_type!r} has no route")
        self._transactions.write(producer, [(route_key(data_type), None)])

    def _write(self, producer: Producer, route: ModelRoute) -> None:
        self._transactions.write(producer, [(route_key(route.data_type), encode_route(route))])

    def _write_fenced(
        self,
        producer: Producer,
        catalog: ModelCatalog,
        data_type: str,
        generation: Generation,
        lead: float,
        origin: Origin,
    ) -> ModelRoute:
        """Publishes the generation with a fence, which is postponed until workers can read the route well before it.

        A committed route cannot be withdrawn: a worker may have read it, and then obeys its fence. The transaction is
        therefore committed only if there is enough time left, and if no open transaction of another publisher, such
        as a killed one, hides it. Otherwise it is aborted, and a new one is begun with a later fence.
        """
        give_up_at = time.monotonic() + _ATTEMPT_SECONDS
        with closing(ModelsTopicReader(self._transactions.kafka, self._transactions.topic)) as reader:
            reader.end()  # connects now, because that takes a while
            while time.monotonic() < give_up_at:
                fence = _now() + round(lead * 1000)
                route = next_route(catalog, data_type, replace(generation, fence=Fence(fence)), origin)
                if self._commit_in_time(producer, reader, route, fence):
                    self._wait_visible(reader, catalog.position, route, fence)
                    return route
                time.sleep(_PAUSE_SECONDS)
        raise PublishError(
            f"topic {self._transactions.topic!r}: the route of {data_type!r} is unchanged, because within "
            f"{_ATTEMPT_SECONDS:g} s it could not be published early enough before its fence: the transaction of "
            "another publisher is open, or the broker is slow; try again with a longer --fence"
        )

    def _commit_in_time(self, producer: Producer, reader: ModelsTopicReader, route: ModelRoute, fence: int) -> bool:
        """Writes the route, and commits it if workers will be able to read it in time; otherwise returns False."""

        def may_commit(offset: int) -> bool:
            # Readers see everything below the first open transaction, which is this one or that of another publisher.
            return reader.end() >= offset and _now() <= fence - VISIBLE_MILLISECONDS - _COMMIT_MILLISECONDS

        return self._transactions.write_if(producer, route_key(route.data_type), encode_route(route), may_commit)

    def _wait_visible(self, reader: ModelsTopicReader, position: int, route: ModelRoute, fence: int) -> None:
        """Waits until readers that know everything below `position` see the route.

        Raises:
          FenceLateError: they see it so late that workers may have answered records behind the fence without it.
        """
        catalog = ModelCatalog()
        # Reading a long topic from its beginning takes longer than the time to the fence.
        catalog.skip_to(position)
        give_up_at = time.monotonic() + _ATTEMPT_SECONDS
        while time.monotonic() < give_up_at:
            reader.catch_up(catalog, reader.end())
            found = catalog.routes.get(route.data_type)
            if found is not None and found.route.newest.fence == route.newest.fence:
                break
            time.sleep(_POLL_SECONDS)
        visible = _now()
        if visible > fence - VISIBLE_MILLISECONDS:
            raise FenceLateError(route.data_type, fence, visible + FRESHNESS_MILLISECONDS)


def next_route(catalog: ModelCatalog, data_type: str, generation: Generation, origin: Origin = "person") -> ModelRoute:
    """The route after a new generation.

    The first one of a data type is preceded by a generation that has the effect of no route: records before a fence
    need it, and so do workers that cannot load the models of the route.
    """
    published = catalog.routes.get(data_type)
    declared = _declared(generation, origin, published)
    if published is not None:
        return published.route.followed_by(generation, _now(), declared)
    before = current_generation(catalog, data_type)
    if before is None:
        return ModelRoute(data_type, (generation,), _now(), declared)
    # The offset of the pointer that made the model live, because there was no route.
    live = catalog.candidates()[data_type][0].descriptor.model_name
    live_at = catalog.pointers[live].offset
    route = ModelRoute(data_type, (replace(before, offset=live_at),), _now())
    return route.followed_by(generation, _now(), declared)


def _declared(generation: Generation, origin: Origin, published: PublishedRoute | None) -> Generation | None:
    """The declaration of a file, which only a route that a guard may change needs to remember."""
    if origin == "guard":
        return None if published is None else published.route.declared
    guarded = any(arm.guardrails is not None for arm in generation.arms)
    return generation if origin == "file" and guarded else None


def _now() -> int:
    return time.time_ns() // 1_000_000
