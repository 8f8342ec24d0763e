"""The pending status events of a worker."""

from __future__ import annotations

import time

from models.model_topic.published import PublishedVersion
from models.status.events import EventKind, ModelStatistics, StatusEvent, WorkerState


class EventLog:
    """Collects the events of a worker until they are taken. Not thread-safe: the registry's lock guards it.

    Args:
      worker: the name of this process in events.
      deployment: the name of the deployment in events, which is its consumer group.
    """

    def __init__(self, worker: str, deployment: str) -> None:
        self._worker = worker
        self._deployment = deployment
        self._events: list[StatusEvent] = []

    def add(
        self,
        kind: EventKind,
        version: PublishedVersion,
        error: str | None = None,
        statistics: ModelStatistics | None = None,
    ) -> None:
        """Adds an event about a model."""
        descriptor = version.descriptor
        self._events.append(
            StatusEvent(
                kind,
                _now(),
                self._worker,
                descriptor.model_name,
                descriptor.model_version,
                descriptor.data_type,
                error,
                statistics,
                self._deployment,
            )
        )

    def add_stopped(self, error: str) -> None:
        """Adds the event which says that the models topic is no longer followed."""
        self._events.append(StatusEvent("stopped", _now(), self._worker, error=error, deployment=self._deployment))

    def replace_state(self, state: WorkerState) -> None:
        """Adds what the worker has applied of the models topic, which replaces an earlier state not taken yet."""
        self._events = [one for one in self._events if one.kind != "worker"]
        self._events.append(StatusEvent("worker", _now(), self._worker, deployment=self._deployment, state=state))

    def replace_statistics(self, version: PublishedVersion, statistics: ModelStatistics) -> None:
        """Adds the statistics of a model, which replace earlier ones not taken yet, so that events do not pile up."""
        about = ("statistics", version.descriptor.model_name, version.descriptor.model_version)
        self._events = [one for one in self._events if (one.kind, one.model_name, one.model_version) != about]
        self.add("statistics", version, statistics=statistics)

    def take(self) -> list[StatusEvent]:
        """The events since the last call."""
        events, self._events = self._events, []
        return events


def _now() -> int:
    return time.time_ns() // 1_000_000
