"""Publishes routes to the models topic."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from confluent_kafka import Producer

from models.errors import PublishError
from models.kafka.client import KafkaSettings
from models.model_topic.catalog import ModelCatalog
from models.model_topic.fences import VISIBLE_MILLISECONDS, check_lead
from models.model_topic.names import route_key
from models.model_topic.published import PublishedRoute
from models.model_topic.reader import ModelsTopicReader
from models.model_topic.route import Fence, Generation, ModelRoute
from models.model_topic.route_changes import check_versions, current_generation
from models.model_topic.route_encoding import encode_route
from models.model_topic.transactions import TopicTransactions

_ATTEMPTS = 5
_POLL_SECONDS = 0.02

Change = Callable[[Generation | None], Generation]


class RoutePublisher:
    """Changes the routes of data types.

    Args:
      kafka: the brokers.
      topic: the models topic, which exists.
    """

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._transactions = TopicTransactions(kafka, topic)

    def routes(self) -> dict[str, PublishedRoute]:
        """The routes that are published now, by data type; raises as `TopicTransactions.read` does."""
        return self._transactions.read().routes

    def change(self, data_type: str, change: Change, lead: float | None = None) -> ModelRoute:
        """Publishes the next generation of a route, and returns the route.

        Args:
          data_type: of the records.
          change: gives the next generation from the newest one; from None if there is neither a route nor a live model.
            A fence that it sets itself is kept; where that lies is the caller's responsibility.
          lead: seconds from now to the fence from which on the generation holds; None: it has no fence, and holds as
            soon as its models are loaded.

        Raises:
          RouteError: when the generation contradicts itself, or names an unknown model.
          PublishError: when another publisher was faster, or no fence can be published in time.
          ModelsTopicError, KafkaUnreachableError: when the topic cannot be used.
        """
        if lead is not None:
            check_lead(lead)
        producer = self._transactions.producer(route_key(data_type).decode())
        catalog = self._transactions.read()
        generation = change(current_generation(catalog, data_type))
        check_versions(generation, catalog)
        if lead is None:
            route = next_route(catalog, data_type, generation)
            self._write(producer, route)
            return route
        return self._write_fenced(producer, catalog, data_type, generation, lead)

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
        self, producer: Producer, catalog: ModelCatalog, data_type: str, generation: Generation, lead: float
    ) -> ModelRoute:
        """Publishes the generation, again with a later fence if workers could not read it in time.

        They cannot read past the open transaction of another publisher, such as one that was killed. After the last
        attempt the route is put back as it was.
        """
        for _ in range(_ATTEMPTS):
            fence = Fence(_now() + round(lead * 1000))
            route = next_route(catalog, data_type, replace(generation, fence=fence))
            self._write(producer, route)
            if self._is_visible(route, catalog.position, (fence.timestamp or 0) - VISIBLE_MILLISECONDS):
                return route
        before = catalog.routes.get(data_type)
        content = encode_route(before.route) if before is not None else None
        self._transactions.write(producer, [(route_key(data_type), content)])
        raise PublishError(
            f"topic {self._transactions.topic!r}: the route of {data_type!r} could not be read before its fence in "
            f"{_ATTEMPTS} attempts, and is as it was: the transaction of another publisher is open, or the broker is "
            "slow; try again in half a minute, or with a longer --fence"
        )

    def _is_visible(self, route: ModelRoute, position: int, until: int) -> bool:
        """Whether readers who know all below `position` see the route before a moment, in milliseconds since 1970."""
        catalog = ModelCatalog()
        # Reading a long topic from its beginning takes longer than the time to the fence.
        catalog.skip_to(position)
        with closing(ModelsTopicReader(self._transactions.kafka, self._transactions.topic)) as reader:
            while _now() <= until:
                reader.catch_up(catalog, reader.end())
                found = catalog.routes.get(route.data_type)
                if found is not None and found.route.newest.fence == route.newest.fence:
                    return _now() <= until
                time.sleep(_POLL_SECONDS)
        return False


def next_route(catalog: ModelCatalog, data_type: str, generation: Generation) -> ModelRoute:
    """The route after a new generation.

    The first one of a data type gets a generation before it that does what happens without a route: records before a
    fence need it, and so do workers that cannot load the models of the route.
    """
    published = catalog.routes.get(data_type)
    if published is not None:
        return published.route.followed_by(generation, _now())
    before = current_generation(catalog, data_type)
    if before is None:
        return ModelRoute(data_type, (generation,), _now())
    # The offset of the pointer that made the model live, because there was no route.
    live = catalog.candidates()[data_type][0].descriptor.model_name
    origin = catalog.pointers[live].offset
    return ModelRoute(data_type, (replace(before, offset=origin),), _now()).followed_by(generation, _now())


def _now() -> int:
    return time.time_ns() // 1_000_000
