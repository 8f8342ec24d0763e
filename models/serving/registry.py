"""The live models of a process: which model scores which records, and how one replaces another.

The registry decides what to load, but does not load it. The follower (`models.serving.follower`) calls `next_load`,
loads the version beside the scoring, and calls `loaded` or `failed`. A swap is one assignment under a lock. A replaced
model is closed after the last batch that uses it.

If a model is retired while another live model scores the same records, it serves until that one has loaded, because
records scored by an outdated model are better than records that are not scored. It continues while the load of the
other one fails and is tried again. It stops at once if there is no other candidate for its records.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType

from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.published import PublishedVersion
from models.serving.loading import LoadedModel
from models.serving.status import CallCounter, EventKind, ModelStatistics, StatusEvent

_LOGGER = logging.getLogger(__name__)

Candidates = tuple[PublishedVersion, ...]


@dataclass(frozen=True)
class RetryPauses:
    """Pauses before a failed load is tried again.

    Attributes:
      first: the first pause in seconds.
      factor: the ratio of each pause to the one before.
      longest: the upper limit of a pause in seconds.
    """

    first: float = 1.0
    factor: float = 2.0
    longest: float = 60.0

    def after(self, failures: int) -> float:
        """The pause in seconds after this number of failures in a row, which is 1 or more."""
        return min(self.longest, self.first * self.factor ** min(failures - 1, 32))


@dataclass
class _Live:
    """A model that serves, or was replaced and waits for its last batch to end."""

    version: PublishedVersion
    model: LoadedModel
    counter: CallCounter
    users: int = 0
    replaced: bool = False
    calls_reported: int = 0

    def statistics(self) -> ModelStatistics:
        descriptor = self.version.descriptor
        return self.counter.statistics(descriptor.model_name, descriptor.model_version, descriptor.description)


@dataclass(frozen=True)
class _Failure:
    version: PublishedVersion
    count: int
    due: float


@dataclass
class _Slot:
    """The state of one data type, with failures by the offset of the version's message.

    A recreated topic may contain another version at the same offset, so a failure also records its version.
    """

    candidates: Candidates = ()
    serving: _Live | None = None
    failures: dict[int, _Failure] = field(default_factory=dict)

    def rank(self) -> int:
        """The index of the serving model among the candidates; their number if it is not one of them."""
        serving = self.serving
        if serving is None:
            return len(self.candidates)
        places = (place for place, one in enumerate(self.candidates) if one.same_model(serving.version))
        return next(places, len(self.candidates))

    def want(self, candidates: Candidates) -> None:
        """Replaces the candidates, and forgets the failures of versions that are no longer among them."""
        self.candidates = candidates
        known = {one.offset: one for one in candidates}
        self.failures = {at: one for at, one in self.failures.items() if known.get(at) == one.version}

    def is_retired(self, live: _Live) -> bool:
        """Whether no version of that model is a candidate any more."""
        name = live.version.descriptor.model_name
        return all(one.descriptor.model_name != name for one in self.candidates)


class Lease:
    """A model in use by one batch: `with registry.lease(data_type) as lease`.

    `lease.model` is None if no model serves the data type.
    """

    def __init__(self, registry: ModelRegistry, live: _Live | None) -> None:
        self._registry = registry
        self._live = live

    @property
    def model(self) -> LoadedModel | None:
        """The model that scores; it is not closed while the lease is held."""
        return self._live.model if self._live else None

    def count(self, records: int, errors: int, milliseconds: float) -> None:
        """Adds a call to the model's statistics: its numbers of records and errors, and its duration."""
        if self._live is not None:
            self._registry.count(self._live, records, errors, milliseconds)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._registry.give_back(self._live)


class ModelRegistry:
    """The live models of a process. Thread-safe.

    Args:
      worker: the name of this process in status events.
      pauses: the pauses before a failed load is tried again.
      clock: returns a number of seconds that never decreases; used for the pauses.
      deployment: the name of the deployment in status events, which is its consumer group.
    """

    def __init__(
        self,
        worker: str,
        pauses: RetryPauses | None = None,
        clock: Callable[[], float] = time.monotonic,
        deployment: str = "",
    ) -> None:
        self.worker = worker
        self.deployment = deployment
        self._pauses = pauses or RetryPauses()
        self._clock = clock
        self._changed = threading.Condition()
        self._slots: dict[str, _Slot] = {}
        self._events: list[StatusEvent] = []

    def update(self, candidates: Mapping[str, Candidates]) -> None:
        """Takes over the candidates of the catalog, by data type; idempotent.

        A model without a candidate is retired: at once if its records have no other candidate, otherwise as soon as
        one of them has loaded.
        """
        retired = []
        with self._changed:
            for data_type in dict.fromkeys([*self._slots, *candidates]):
                slot = self._slots.setdefault(data_type, _Slot())
                slot.want(candidates.get(data_type, ()))
                if not slot.candidates:
                    self._report_retired(slot)
                    retired.append(self._replace(slot, None))
            self._changed.notify_all()
        self._close_unused(retired)

    def next_load(self) -> PublishedVersion | None:
        """The version to load now, or None; a version that failed to load is due again after its pause."""
        with self._changed:
            now = self._clock()
            for slot in self._slots.values():
                for version in slot.candidates[: slot.rank()]:
                    failure = slot.failures.get(version.offset)
                    if failure is None or failure.due <= now:
                        self._report("loading", version)
                        return version
            return None

    def next_due(self) -> float | None:
        """Seconds until a failed load is due again; None if no load has failed."""
        with self._changed:
            now = self._clock()
            dues = [
                slot.failures[version.offset].due - now
                for slot in self._slots.values()
                for version in slot.candidates[: slot.rank()]
                if version.offset in slot.failures
            ]
            return max(0.0, min(dues)) if dues else None

    def loaded(self, version: PublishedVersion, model: LoadedModel) -> None:
        """Puts a loaded model into service, or closes it if it is no longer wanted."""
        with self._changed:
            slot = self._slots.get(version.descriptor.data_type)
            wanted = slot is not None and 0 <= _place(slot.candidates, version) < slot.rank()
            if slot is not None and wanted:
                live = _Live(version, model, CallCounter(since=_now()))
                slot.failures.pop(version.offset, None)
                self._report_retired(slot)
                old = self._replace(slot, live)
                self._report("serving", version, statistics=live.statistics())
                _LOGGER.info("model %s serves %r records", version.label, version.descriptor.data_type)
                self._changed.notify_all()
        if wanted:
            self._close_unused([old])
        else:
            model.close()

    def failed(self, version: PublishedVersion, error: Exception) -> None:
        """Records a failed load, which is due again after a pause; the current model continues to serve."""
        with self._changed:
            slot = self._slots.get(version.descriptor.data_type)
            if slot is None or _place(slot.candidates, version) < 0:
                return
            known = slot.failures.get(version.offset)
            count = known.count + 1 if known else 1
            pause = self._pauses.after(count)
            slot.failures[version.offset] = _Failure(version, count, self._clock() + pause)
            self._report("failed", version, error=str(error))
            instead = f"{slot.serving.version.label} still serves" if slot.serving else "no other model serves yet"
            _LOGGER.error("model %s: %s; %s; next attempt in %g s", version.label, error, instead, pause)
            self._changed.notify_all()

    def lease(self, data_type: str) -> Lease:
        """Leases the model that scores records of this data type; it stays open until the lease is returned."""
        with self._changed:
            slot = self._slots.get(data_type)
            live = slot.serving if slot else None
            if live is not None:
                live.users += 1
            return Lease(self, live)

    def give_back(self, live: _Live) -> None:
        """Ends a lease; called by `Lease`."""
        with self._changed:
            live.users -= 1
            close = live.replaced and live.users == 0
        if close:
            self._close(live)

    def count(self, live: _Live, records: int, errors: int, milliseconds: float) -> None:
        """Adds a call to a model's statistics; called by `Lease`."""
        with self._changed:
            live.counter.add(records, errors, milliseconds)

    def settled(self) -> bool:
        """Whether every candidate better than the serving model has failed, so that waiting would not help."""
        with self._changed:
            return self._is_settled()

    def wait_settled(self, timeout: float) -> bool:
        """Waits up to `timeout` seconds for `settled`; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(self._is_settled, timeout)

    def report_stopped(self, error: str) -> None:
        """Adds the event that the models topic is no longer followed."""
        with self._changed:
            self._events.append(StatusEvent("stopped", _now(), self.worker, error=error, deployment=self.deployment))

    def drain_events(self) -> list[StatusEvent]:
        """The events since the last call."""
        with self._changed:
            events, self._events = self._events, []
            return events

    def report_statistics(self) -> None:
        """Adds an event for each model that was called since its last report.

        The event replaces an earlier one of the same model that was not drained, so events do not pile up.
        """
        with self._changed:
            serving = [slot.serving for slot in self._slots.values() if slot.serving is not None]
            for live in serving:
                if live.counter.calls != live.calls_reported:
                    live.calls_reported = live.counter.calls
                    self._forget_statistics(live.version.descriptor)
                    self._report("statistics", live.version, statistics=live.statistics())

    def close(self) -> None:
        """Releases all models; a model in use is released after its last batch."""
        with self._changed:
            for slot in self._slots.values():
                slot.candidates = ()
            replaced = [self._replace(slot, None) for slot in self._slots.values()]
        self._close_unused(replaced)

    def _forget_statistics(self, of: ModelDescriptor) -> None:
        about = ("statistics", of.model_name, of.model_version)
        events = self._events
        self._events = [one for one in events if (one.kind, one.model_name, one.model_version) != about]

    def _report_retired(self, slot: _Slot) -> None:
        if slot.serving is not None and slot.is_retired(slot.serving):
            self._report("retired", slot.serving.version)
            _LOGGER.info("model %s is retired", slot.serving.version.label)

    def _is_settled(self) -> bool:
        return all(
            version.offset in slot.failures
            for slot in self._slots.values()
            for version in slot.candidates[: slot.rank()]
        )

    @staticmethod
    def _replace(slot: _Slot, live: _Live | None) -> _Live | None:
        """Swaps the serving model, and returns the old one if no batch uses it.

        The caller closes it after it has released the lock, because closing may take long.
        """
        old, slot.serving = slot.serving, live
        if old is None:
            return None
        old.replaced = True
        return old if old.users == 0 else None

    def _close_unused(self, replaced: Iterable[_Live | None]) -> None:
        for live in replaced:
            if live is not None:
                self._close(live)

    def _close(self, live: _Live) -> None:
        live.model.close()
        with self._changed:
            self._report("released", live.version, statistics=live.statistics())

    def _report(
        self,
        kind: EventKind,
        version: PublishedVersion,
        error: str | None = None,
        statistics: ModelStatistics | None = None,
    ) -> None:
        descriptor = version.descriptor
        self._events.append(
            StatusEvent(
                kind,
                _now(),
                self.worker,
                descriptor.model_name,
                descriptor.model_version,
                descriptor.data_type,
                error,
                statistics,
                self.deployment,
            )
        )


def _place(candidates: Candidates, version: PublishedVersion) -> int:
    return next((place for place, one in enumerate(candidates) if one.same_model(version)), -1)


def _now() -> int:
    return time.time_ns() // 1_000_000
