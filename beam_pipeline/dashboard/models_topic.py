"""What the models topic says: versions, routes with their shares, and the last changes."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from models.errors import ModelsTopicCutError, ModelsTopicError
from models.kafka.client import KafkaSettings
from models.model_topic.catalog import ModelCatalog
from models.model_topic.history import RecordedCatalog, describe_generation
from models.model_topic.published import PublishedVersion
from models.model_topic.publisher import ListedVersion, listed_versions
from models.model_topic.reader import ModelsTopicReader, TopicState
from models.model_topic.route import Arm, Generation, Segment
from models.model_topic.route_changes import current_generation
from models.text import clean_text, limit_text

MOST_CHANGES = 100
MOST_VERSIONS, MOST_ROUTES = 200, 50
_SECONDS_TO_ANSWER = 10.0


class ModelsTopic:
    """Follows the models topic: call `update` once a second, in one thread. The other methods are thread-safe.

    Args:
      kafka: the brokers.
      topic: the models topic.
    """

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._topic = topic
        self._reader = ModelsTopicReader(kafka, topic, _SECONDS_TO_ANSWER)
        self._lock = threading.Lock()
        self._catalog = RecordedCatalog(MOST_CHANGES)
        self._state = TopicState("", 0)

    def update(self) -> None:
        """Reads what is new.

        Raises:
          ModelsTopicError, KafkaUnreachableError: the topic cannot be read.
        """
        state = self._reader.look()
        with self._lock:
            if state.topic_id != self._state.topic_id or state.end < self._catalog.position:  # it was created again
                self._catalog = RecordedCatalog(MOST_CHANGES)
            self._state = state
            try:
                self._reader.catch_up(self._catalog, state.end)
            except ModelsTopicCutError:
                self._catalog = RecordedCatalog(MOST_CHANGES)
                self._reader.close()
                raise
        if not state.end and not self._catalog.versions:
            raise ModelsTopicError(f"topic {self._topic!r} does not exist yet, or is empty")

    def close(self) -> None:
        """Closes the clients."""
        self._reader.close()

    @property
    def state(self) -> TopicState:
        """The end and the id of the topic."""
        with self._lock:
            return self._state

    def listed(self) -> list[ListedVersion]:
        """The newest versions."""
        with self._lock:
            newest = sorted(listed_versions(self._catalog), key=lambda one: one.offset)[-MOST_VERSIONS:]
        return sorted(newest, key=lambda one: (one.descriptor.model_name, -one.descriptor.model_version))

    def version(self, model: str, version: int) -> PublishedVersion | None:
        """A version; None if the topic does not contain it."""
        with self._lock:
            return self._catalog.versions.get((model, version))

    def routes(self) -> list[dict[str, Any]]:
        """What answers each data type, as JSON."""
        with self._lock:
            data_types = sorted({*self._catalog.routes, *self._catalog.candidates()})[:MOST_ROUTES]
            return [one for one in (_route(self._catalog, data_type) for data_type in data_types) if one is not None]

    def changes(self) -> list[dict[str, Any]]:
        """The last changes as JSON, the newest first."""
        with self._lock:
            return [{**asdict(one), "change": limit_text(one.change, 400)} for one in reversed(self._catalog.entries)]


def listed_json(one: ListedVersion) -> dict[str, Any]:
    """A version as JSON."""
    descriptor = one.descriptor
    return {
        "name": descriptor.model_name,
        "version": descriptor.model_version,
        "state": one.state,
        "type": clean_text(descriptor.model_type, 80),
        "data_type": clean_text(descriptor.data_type, 249),
        "description": None if descriptor.description is None else clean_text(descriptor.description, 400),
        "published_at": descriptor.published_at,
        "where": "in the topic" if one.inline else clean_text(descriptor.model_source_location or "", 400),
        "digest": descriptor.digest,
        "offset": one.offset,
    }


def _route(catalog: ModelCatalog, data_type: str) -> dict[str, Any] | None:
    generation = current_generation(catalog, data_type)
    if generation is None:
        return None
    published = catalog.routes.get(data_type)
    return {
        "data_type": data_type,
        "declared": published is not None,
        "updated_at": None if published is None else published.route.updated_at,
        "can_roll_back": _can_roll_back(catalog, data_type),
        "note": limit_text(generation.note, 400),
        "description": limit_text(describe_generation(generation), 800),
        "fence": None if generation.fence is None else generation.fence.timestamp,
        "segments": [_segment(catalog, generation, one) for one in generation.segments],
    }


def _can_roll_back(catalog: ModelCatalog, data_type: str) -> bool:
    published = catalog.routes.get(data_type)
    if published is not None:
        return len(published.route.generations) > 1
    return len(catalog.candidates()[data_type]) > 1


def _segment(catalog: ModelCatalog, generation: Generation, segment: Segment) -> dict[str, Any]:
    total = sum(arm.weight for arm in segment.arms if arm.answers)
    return {
        "condition": segment.condition,
        "arms": [
            _arm(catalog, arm, arm.weight if arm.role == "shadow" else arm.weight / total) for arm in segment.arms
        ],
    }


def _arm(catalog: ModelCatalog, arm: Arm, share: float) -> dict[str, Any]:
    version = arm.version
    if version is None and arm.graph is None:
        with suppress(IndexError):
            version = catalog.live(arm.model)[0].descriptor.model_version
    return {
        "name": arm.name,
        "label": arm.label if version is None else f"{arm.model}/{version}",
        "model": arm.model,
        "version": version,
        "role": arm.role,
        "share": share if arm.role == "shadow" or arm.answers else 0.0,
        "guarded": arm.guardrails is not None,
    }
