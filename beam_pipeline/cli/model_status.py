"""The status of models: the fold of the status topic, beside what the models topic wants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from models.model_topic.publisher import ListedVersion
from models.serving.status import ModelStatistics, StatusEvent


@dataclass(frozen=True)
class ModelStatus:
    """One version of a model.

    Attributes:
      name, version, description: as published.
      state: what its workers last said (loading, serving, failed, released, retired), or else what the models topic
        says: live (no worker has told of it), previous, or stored.
      since: when it first served, milliseconds since 1970-01-01 UTC; None: never.
      usage, errors: records scored, and records that it could not score, in all workers together.
      average, minimum, maximum: duration of a call in milliseconds.
      last_error: of the last failed load, unless it has served since.
    """

    name: str
    version: int
    description: str | None
    state: str
    since: int | None
    usage: int
    errors: int
    average: float
    minimum: float
    maximum: float
    last_error: str | None


class StatusFold:
    """Takes status events in their order; gives the status of each version."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, int], dict[str, StatusEvent]] = {}
        self._statistics: dict[tuple[str, int], dict[tuple[str, int], ModelStatistics]] = {}

    def add(self, message: bytes) -> None:
        """Takes a message of the status topic; what is no event is passed over."""
        try:
            event = StatusEvent.from_json(message)
        except ValueError:
            return
        key = event.model_name, event.model_version
        if event.kind != "statistics":
            self._last.setdefault(key, {})[event.worker] = event
        if event.statistics is not None:
            # A version that serves again begins to count anew: its count before stays.
            place = event.worker, event.statistics.since
            self._statistics.setdefault(key, {})[place] = event.statistics

    def statuses(self, versions: Iterable[ListedVersion]) -> list[ModelStatus]:
        """The status of these versions, in their order."""
        return [self._status(one) for one in versions]

    def _status(self, one: ListedVersion) -> ModelStatus:
        descriptor = one.descriptor
        key = descriptor.model_name, descriptor.model_version
        figures = list(self._statistics.get(key, {}).values())
        events = sorted(self._last.get(key, {}).values(), key=lambda event: event.at)
        calls = sum(figure.calls for figure in figures)
        called = [figure for figure in figures if figure.calls]
        return ModelStatus(
            *key,
            descriptor.description,
            events[-1].kind if events else one.state or "stored",
            min((figure.since for figure in figures), default=None),
            sum(figure.usage for figure in figures),
            sum(figure.errors for figure in figures),
            sum(figure.average * figure.calls for figure in figures) / calls if calls else 0.0,
            min((figure.minimum for figure in called), default=0.0),
            max((figure.maximum for figure in called), default=0.0),
            events[-1].error if events else None,
        )
