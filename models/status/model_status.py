"""The status of models: a fold over the status topic, combined with the desired state from the models topic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from models.errors import StatusEventError
from models.model_topic.publisher import ListedVersion
from models.status.durations import added, percentile
from models.status.events import ArmShare, ModelStatistics, StatusEvent


@dataclass(frozen=True)
class ModelStatus:
    """One version of a model, in one deployment.

    Attributes:
      name, version, description: as published.
      state: what its workers last reported (loading, serving, failed, released, retired). Without a report, the state
        in the models topic: live, previous or stored.
      since: when it first served, in milliseconds since 1970-01-01 UTC; None if it never did.
      usage, errors: number of records scored, and of records that failed, over all workers.
      average, minimum, maximum, p50, p99: duration of a call in milliseconds.
      last_error: the error of the last failed load, unless it has served since.
      deployment: the consumer group whose workers reported; empty without a report.
      workers: the number of workers that serve it.
      memory: the bytes of memory that it takes in the worker where it takes most; 0 if they are unknown.
      digest: SHA-256 of the published model, as 64 hexadecimal digits; None if no worker has reported it.
      arms: the arms that it answers in, in any worker.
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
    p50: float = 0.0
    p99: float = 0.0
    workers: int = 0
    memory: int = 0
    digest: str | None = None
    arms: tuple[ArmShare, ...] = ()


@dataclass(frozen=True)
class WorkerStatus:
    """One worker process.

    Attributes:
      worker, deployment: its name, and the consumer group of its deployment.
      seen: the time of its last event, in milliseconds since 1970-01-01 UTC.
      lag: how many offsets it is behind the end of the models topic; None if it follows another topic.
      waiting: the models that it should serve but has not loaded yet, as NAME/VERSION.
      memory: the resident memory of its process in bytes.
      stopped: why it no longer follows the models topic; None if it does.
    """

    worker: str
    deployment: str
    seen: int
    lag: int | None
    waiting: tuple[str, ...]
    memory: int
    stopped: str | None = None

    def is_silent(self, now: int) -> bool:
        """Whether nothing was heard of it for half a minute: it has ended, or cannot write to the status topic."""
        return now - self.seen > SILENT_MILLISECONDS

    def needs_attention(self, now: int) -> bool:
        """Whether it does not serve what it should."""
        return bool(self.lag != 0 or self.waiting or self.stopped or self.is_silent(now))


SILENT_MILLISECONDS = 30_000
_FORGOTTEN_MILLISECONDS = 3_600_000
# The kinds of events that say something about the state of a model in a worker.
_REPORTS = ("serving", "statistics", "loading", "failed", "released", "unloaded", "retired")

_Key = tuple[str, str, int]  # deployment, name and version of a model


class StatusFold:
    """Folds status events, in their order, into the status of each version in each deployment.

    Deployments may share the models topic and the status topic: one of them may serve a model that another cannot load.

    Args:
      deployment: the deployment whose events count; None for all.

    Attributes:
      malformed: the number of messages that were not status events.
      reason: why the last of them was not; empty before there is one.
    """

    def __init__(self, deployment: str | None = None) -> None:
        self._deployment = deployment
        self.malformed, self.reason = 0, ""
        self.forget()

    def forget(self) -> None:
        """Forgets all events; malformed messages stay counted."""
        self._last: dict[_Key, dict[str, StatusEvent]] = {}
        self._statistics: dict[_Key, dict[tuple[str, int], ModelStatistics]] = {}
        self._stopped: dict[tuple[str, str], StatusEvent] = {}
        self._seen: dict[tuple[str, str], int] = {}
        self._workers: dict[tuple[str, str], StatusEvent] = {}

    def add(self, message: bytes) -> StatusEvent | None:
        """Adds a message of the status topic, and returns its event.

        None means that the message was skipped: an event of another deployment, an empty message, by which a compacted
        topic forgets an event, or a malformed one, which is counted.
        """
        if not message:
            return None
        try:
            event = StatusEvent.from_json(message)
        except StatusEventError as error:
            self.malformed, self.reason = self.malformed + 1, str(error)
            return None
        if self._deployment not in (None, event.deployment):
            return None
        self._note_worker(event)
        if event.kind in _REPORTS:
            self._note_version(event)
        return event

    def _note_version(self, event: StatusEvent) -> None:
        key = event.deployment, event.model_name, event.model_version
        # In a compacted topic, statistics may be all that is left of a model that serves.
        if event.kind != "statistics" or event.worker not in self._last.get(key, {}):
            reported = replace(event, kind="serving") if event.kind == "statistics" else event
            self._last.setdefault(key, {})[event.worker] = reported
        if event.statistics is not None:
            # A version that serves again starts counting from zero, so its earlier counts are kept under their own
            # start time and added up.
            place = event.worker, event.statistics.since
            self._statistics.setdefault(key, {})[place] = event.statistics

    @property
    def notice(self) -> str:
        """What a person should know about skipped messages; empty if there are none."""
        if not self.malformed:
            return ""
        many = "1 message" if self.malformed == 1 else f"{self.malformed} messages"
        return f"{many} of the status topic skipped; the last one: {self.reason}"

    def statuses(self, versions: Iterable[ListedVersion], since: int = 0) -> list[ModelStatus]:
        """The status of these versions, in their order, in every deployment that has reported on them.

        Args:
          versions: the versions.
          since: in milliseconds since 1970-01-01 UTC; the reports of a worker that was not heard of since then count in
            the statistics, but neither in the state nor in the arms.
        """
        return [self._status(one, deployment, since) for one in versions for deployment in self._deployments(one)]

    def stopped(self) -> list[StatusEvent]:
        """The last event of each worker that no longer follows the models topic."""
        return list(self._stopped.values())

    def workers(self, position: int, topic_id: str, now: int) -> list[WorkerStatus]:
        """The workers that were heard of within the last hour, in the order of their names.

        Args:
          position: the end of the models topic.
          topic_id: the id of the models topic; empty if it is unknown.
          now: in milliseconds since 1970-01-01 UTC.
        """
        known = [one for one in sorted(self._workers) if now - self._seen[one] < _FORGOTTEN_MILLISECONDS]
        return [self._worker(one, position, topic_id) for one in known]

    def _worker(self, key: tuple[str, str], position: int, topic_id: str) -> WorkerStatus:
        state, stopped = self._workers[key].state, self._stopped.get(key)
        assert state is not None
        same = not topic_id or not state.topic_id or topic_id == state.topic_id
        return WorkerStatus(
            key[1],
            key[0],
            self._seen[key],
            max(0, position - state.position) if same else None,
            state.waiting,
            state.memory,
            None if stopped is None else stopped.error or "",
        )

    def _note_worker(self, event: StatusEvent) -> None:
        """Remembers a worker, and if it stopped following the models topic, until it loads a model again."""
        worker = event.deployment, event.worker
        self._seen[worker] = max(event.at, self._seen.get(worker, 0))
        if event.state is not None:
            self._workers[worker] = event
        if event.kind == "stopped":
            self._stopped[worker] = event
        elif event.kind == "loading":
            self._stopped.pop(worker, None)

    def _deployments(self, one: ListedVersion) -> list[str]:
        model = one.descriptor.model_name, one.descriptor.model_version
        found = {deployment for deployment, *known in (*self._last, *self._statistics) if tuple(known) == model}
        return sorted(found) or [self._deployment or ""]

    def _status(self, one: ListedVersion, deployment: str, since: int) -> ModelStatus:
        descriptor = one.descriptor
        key = deployment, descriptor.model_name, descriptor.model_version
        figures = list(self._statistics.get(key, {}).values())
        events = sorted(self._reports(key, since).values(), key=lambda event: event.at)
        calls = sum(figure.calls for figure in figures)
        called = [figure for figure in figures if figure.calls]
        durations = added(figure.durations for figure in figures)
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
            p50=percentile(durations, 50),
            p99=percentile(durations, 99),
            workers=sum(event.kind == "serving" for event in events),
            memory=max((figure.memory for figure in figures), default=0),
            digest=next((figure.digest for figure in figures if figure.digest), None),
            arms=self._arms(key, since),
        )

    def _reports(self, key: _Key, since: int) -> dict[str, StatusEvent]:
        """The last report of each worker that was heard of since then."""
        known = self._last.get(key, {})
        return {worker: event for worker, event in known.items() if self._seen[key[0], worker] >= since}

    def _arms(self, key: _Key, since: int) -> tuple[ArmShare, ...]:
        """The arms of a version in any worker that serves it, by its newest statistics in each."""
        serving = {worker for worker, event in self._reports(key, since).items() if event.kind == "serving"}
        newest = {worker: one for (worker, _), one in sorted(self._statistics.get(key, {}).items())}
        return tuple(dict.fromkeys(arm for worker in sorted(serving & newest.keys()) for arm in newest[worker].arms))
