"""The status of models: a fold over the status topic, combined with the desired state from the models topic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from models.model_topic.publisher import ListedVersion
from models.serving.status import ModelStatistics, StatusEvent


@dataclass(frozen=True)
class ModelStatus:
    """One version of a model, in one deployment.

    Attributes:
      name, version, description: as published.
      state: what its workers last reported (loading, serving, failed, released, retired). Without a report, the state
        in the models topic: live, previous or stored.
      since: when it first served, in milliseconds since 1970-01-01 UTC; None if it never did.
      usage, errors: number of records scored, and of records that failed, over all workers.
      average, minimum, maximum: duration of a call in milliseconds.
      last_error: the error of the last failed load, unless it has served since.
      deployment: the consumer group whose workers reported; empty without a report.
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
    deployment: str = ""


_Key = tuple[str, str, int]  # deployment, name and version of a model


class StatusFold:
    """Folds status events, in their order, into the status of each version in each deployment.

    Deployments may share the models topic and the status topic: one of them may serve a model that another cannot load.

    Args:
      deployment: the deployment whose events count; None for all.
    """

    def __init__(self, deployment: str | None = None) -> None:
        self._deployment = deployment
        self._last: dict[_Key, dict[str, StatusEvent]] = {}
        self._statistics: dict[_Key, dict[tuple[str, int], ModelStatistics]] = {}
        self._stopped: dict[tuple[str, str], StatusEvent] = {}

    def add(self, message: bytes) -> None:
        """Adds a message of the status topic; a message that is not a status event is ignored."""
        try:
            event = StatusEvent.from_json(message)
        except ValueError:
            return
        if self._deployment not in (None, event.deployment):
            return
        self._note_stopped(event)
        key = event.deployment, event.model_name, event.model_version
        if event.kind != "statistics":
            self._last.setdefault(key, {})[event.worker] = event
        if event.statistics is not None:
            # A version that serves again starts counting from zero, so its earlier counts are kept under their own
            # start time and added up.
            place = event.worker, event.statistics.since
            self._statistics.setdefault(key, {})[place] = event.statistics

    def statuses(self, versions: Iterable[ListedVersion]) -> list[ModelStatus]:
        """The status of these versions, in their order, in every deployment that has reported on them."""
        return [self._status(one, deployment) for one in versions for deployment in self._deployments(one)]

    def stopped(self) -> list[StatusEvent]:
        """The last event of each worker that no longer follows the models topic."""
        return list(self._stopped.values())

    def _note_stopped(self, event: StatusEvent) -> None:
        """Remembers a worker that stopped following the models topic, until it loads a model again."""
        worker = event.deployment, event.worker
        if event.kind == "stopped":
            self._stopped[worker] = event
        elif event.kind == "loading":
            self._stopped.pop(worker, None)

    def _deployments(self, one: ListedVersion) -> list[str]:
        model = one.descriptor.model_name, one.descriptor.model_version
        found = {deployment for deployment, *known in (*self._last, *self._statistics) if tuple(known) == model}
        return sorted(found) or [self._deployment or ""]

    def _status(self, one: ListedVersion, deployment: str) -> ModelStatus:
        descriptor = one.descriptor
        key = deployment, descriptor.model_name, descriptor.model_version
        figures = list(self._statistics.get(key, {}).values())
        events = sorted(self._last.get(key, {}).values(), key=lambda event: event.at)
        calls = sum(figure.calls for figure in figures)
        called = [figure for figure in figures if figure.calls]
        return ModelStatus(
            descriptor.model_name,
            descriptor.model_version,
            descriptor.description,
            events[-1].kind if events else one.state or "stored",
            min((figure.since for figure in figures), default=None),
            sum(figure.usage for figure in figures),
            sum(figure.errors for figure in figures),
            sum(figure.average * figure.calls for figure in figures) / calls if calls else 0.0,
            min((figure.minimum for figure in called), default=0.0),
            max((figure.maximum for figure in called), default=0.0),
            events[-1].error if events else None,
            deployment,
        )
