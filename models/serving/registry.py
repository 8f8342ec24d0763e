"""The live models of a process: which models answer which records, and how one route replaces another.

The registry decides what to load, but does not load it. The loads (`models.serving.loads`) call `next_load`, load the
version beside the scoring, and call `loaded` or `failed`. A switch is one assignment under a lock. A model that no
route needs is closed after the last batch that uses it.

Each data type has a plan: the generations of its route, the newest first. Without a route it has one generation with
one arm, whose versions are the candidates. The *current* generation applies to records that are behind no fence: it is
the newest one without a fence that has a loaded model for each arm that answers. It stays in effect until another one
can take its place, even if the plan no longer contains it, because records scored by an outdated model are better than
records that are not scored. It ends at once if the plan contains no version at all.

Only the generation of a fence applies to the records behind it: a batch waits until its models are loaded, up to a
limit, and records whose model cannot be loaded get an error. The same wait applies to a model that was unloaded to save
memory.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from models.errors import ModelNotLoadedError
from models.graphs.bandits import Rewards
from models.loading.loader import LoadedModel
from models.loading.memory import resident_bytes
from models.model_topic.published import PublishedVersion
from models.observing.instruments import FOLLOWER_STOPS, LOADS, MODEL_MEMORY, MODEL_SHARE, MODELS_WAITING, UPDATE_LAG
from models.observing.observer import NO_OBSERVER, Labels, Observer
from models.routing.plan import Plan, PlannedArm, PlannedGeneration
from models.serving.leases import Coordinates, Lease, LeasedArm, LeasedPart, Rows, parts_of
from models.serving.pool import ModelPool, PooledModel, RetryPauses, Unloaded
from models.serving.slots import Slot
from models.status.event_log import EventLog
from models.status.events import ArmShare, EventKind, ModelStatistics, StatusEvent, WorkerState

_LOGGER = logging.getLogger(__name__)

_STATE_SECONDS = 10.0


@dataclass(frozen=True)
class RegistrySettings:
    """Settings of a registry.

    Attributes:
      pauses: the pauses before a failed load is tried again.
      model_wait: the maximum number of seconds for which a batch waits for a model that its records require.
      model_memory: the bytes that the loaded models may take together; None for no limit.
      deployment: the name of the deployment in status events, which is its consumer group.
    """

    pauses: RetryPauses = field(default_factory=RetryPauses)
    model_wait: float = 60.0
    model_memory: int | None = None
    deployment: str = ""


class ModelRegistry:
    """The live models of a process. Thread-safe.

    Attributes:
      rewards: the rewards of the models among which bandits choose.
      observer: measures the loads and the models that serve.

    Args:
      worker: the name of this process in status events.
      settings: the settings; None means the defaults.
      clock: returns a number of seconds that never decreases; used for pauses and idle times.
      observer: measures the loads and the models that serve.
    """

    def __init__(
        self,
        worker: str,
        settings: RegistrySettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        observer: Observer = NO_OBSERVER,
    ) -> None:
        self.worker = worker
        self.observer = observer
        self._began = time.time()
        self._settings = settings or RegistrySettings()
        self.deployment = self._settings.deployment
        self._clock = clock
        self._changed = threading.Condition()
        self._pool = ModelPool(self._settings.pauses, clock, self._settings.model_memory)
        self._slots: dict[str, Slot] = {}
        self._events = EventLog(worker, self.deployment)
        self._closed = False
        self._state: WorkerState | None = None
        self._state_at = 0.0
        self.rewards = Rewards()

    def _new_slot(self) -> Slot:
        return Slot(self._pool, self._clock)

    # --- What should be served.

    def update(self, plans: Mapping[str, Plan]) -> None:
        """Takes over the plans of the catalog, by data type; idempotent.

        A data type whose plan contains no version is retired at once; another one keeps its models until those of the
        new plan can take their place.
        """
        with self._changed:
            for data_type in dict.fromkeys([*self._slots, *plans]):
                self._slots.setdefault(data_type, self._new_slot()).adopt(plans.get(data_type, ()))
            self._pool.keep_failures(version for slot in self._slots.values() for version in slot.versions())
            unloaded = self._refresh()
        self._close_models(unloaded)

    def next_load(self) -> PublishedVersion | None:
        """The version to load now, or None; a version that failed to load is due again after its pause.

        The caller must report it to `loaded` or `failed`; no other caller gets it before that.
        """
        with self._changed:
            version = self._pool.next_load(self._wanted())
            if version is not None:
                self._events.add("loading", version)
            return version

    def wait_for_load(self, seconds: float) -> PublishedVersion | None:
        """Like `next_load`, but waits up to `seconds` for a version to load."""
        deadline = self._clock() + seconds
        with self._changed:
            while True:
                version = self.next_load()
                left = deadline - self._clock()
                if version is not None or left <= 0 or self._closed:
                    return version
                due = self.next_due()
                self._changed.wait(left if due is None else max(0.001, min(left, due)))

    def next_due(self) -> float | None:
        """Seconds until a failed load is due again; None if no load has failed."""
        with self._changed:
            return self._pool.next_due(self._wanted())

    def loaded(self, version: PublishedVersion, model: LoadedModel) -> None:
        """Puts a loaded model into service, or closes it if it is no longer wanted."""
        self.observer.measure(LOADS, 1, (*_labels(version), "loaded"))
        with self._changed:
            wanted = any(one.same_model(version) for one in (*self._pool.demands(), *self._wanted()))
            if not wanted:
                self._pool.discard(version)
                self._changed.notify_all()
            else:
                first = self._pool.get(version) is None
                pooled = self._pool.add(version, model)
                unloaded = self._refresh()
                self._events.add("serving", version, statistics=self._statistics(pooled))
                if first:
                    self._measure_update(version)
                _LOGGER.info("model %s serves", version.label)
        if wanted:
            self._close_models(unloaded)
        else:
            model.close()

    def failed(self, version: PublishedVersion, error: Exception) -> None:
        """Records a failed load, which is due again after a pause; the current models continue to serve."""
        self.observer.measure(LOADS, 1, (*_labels(version), "failed"))
        with self._changed:
            known = [one for slot in self._slots.values() for one in slot.versions()]
            if version not in known and version not in self._pool.demands():
                self._pool.discard(version)
                return
            failure = self._pool.fail(version, str(error))
            self._events.add("failed", version, error=str(error))
            pause = max(0.0, failure.due - self._clock())
            _LOGGER.error("model %s: %s; %s; next attempt in %g s", version.label, error, self._instead(version), pause)
            self._changed.notify_all()

    # --- What serves.

    def lease(self, data_type: str, coordinates: Coordinates) -> Lease:
        """Leases the models that score these records, which stay open until the lease is returned.

        It waits for models that the records require: those of generations with a fence, and unloaded ones.
        """
        with self._changed:
            slot = self._slots.get(data_type) or self._new_slot()
            deadline = self._clock() + self._settings.model_wait
            parts = parts_of(slot.plan, slot.base(), coordinates)
            leased = tuple(self._lease_part(rows, generation, slot, deadline) for rows, generation in parts)
            return Lease(leased, self.give_back)

    def has_guardrails(self) -> bool:
        """Whether a candidate of a route has guardrails."""
        with self._changed:
            plans = [slot.plan for slot in self._slots.values()]
        return any(arm.guardrails is not None for plan in plans for one in plan[:1] for arm in one.arms)

    def settled(self) -> bool:
        """Whether every version that should be loaded has loaded or failed, so that waiting would not help."""
        with self._changed:
            return self._is_settled()

    def wait_settled(self, timeout: float) -> bool:
        """Waits up to `timeout` seconds for `settled`; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(self._is_settled, timeout)

    # --- Events.

    def report_stopped(self, error: str) -> None:
        """Adds the event which says that the models topic is no longer followed."""
        self.observer.measure(FOLLOWER_STOPS, 1)
        with self._changed:
            self._events.add_stopped(error)

    def drain_events(self) -> list[StatusEvent]:
        """The events since the last call."""
        with self._changed:
            return self._events.take()

    def report_statistics(self) -> None:
        """Adds an event for each model that has other calls or arms than at its last report, and drops idle models.

        The event replaces an earlier one of the same model that was not drained, so events do not pile up.
        """
        with self._changed:
            for pooled in self._pool.models():
                if pooled.reported != (pooled.counter.calls, self._arms_of(pooled)):
                    self._events.replace_statistics(pooled.version, self._statistics(pooled))
            unloaded = self._refresh()
        self._close_models(unloaded)

    def report_state(self, position: int, topic_id: str) -> None:
        """Adds an event with what this worker has applied of the models topic, if that is news or was long ago.

        Args:
          position: the offset before which it has applied everything.
          topic_id: the id of the models topic; empty if it is unknown.
        """
        with self._changed:
            waiting = tuple(dict.fromkeys(version.label for version in self._wanted()))
            state, now = WorkerState(position, topic_id, waiting), self._clock()
            if state != self._state or now - self._state_at >= _STATE_SECONDS:
                self._state, self._state_at = state, now
                self._events.replace_state(replace(state, memory=resident_bytes()))

    def close(self) -> None:
        """Releases all models; a model in use is released after its last batch."""
        with self._changed:
            self._closed = True
            self._slots.clear()
            unloaded = self._pool.drop_others(())
            self._changed.notify_all()
        self._close_models(unloaded)

    def _statistics(self, pooled: PooledModel) -> ModelStatistics:
        """The statistics of a model for a report."""
        arms = self._arms_of(pooled)
        pooled.reported = pooled.counter.calls, arms
        return replace(pooled.statistics(), arms=arms)

    def _arms_of(self, pooled: PooledModel) -> tuple[ArmShare, ...]:
        if pooled.dropped:
            return ()
        return tuple(arm for name, slot in self._slots.items() for arm in slot.arms_of(pooled.version, name))

    # --- The generation in effect.

    def _refresh(self) -> list[Unloaded]:
        """Lets newer generations take effect where they can, and drops models that are no longer needed."""
        needed: list[PublishedVersion] = []
        for slot in self._slots.values():
            before = slot.serving
            slot.choose()
            self._report_retired(slot, before)
            needed += slot.needed()
        needed += self._pool.demands()
        unloaded = self._pool.drop_others(needed)
        unloaded += self._pool.shrink()
        self._measure_models()
        self._changed.notify_all()
        return unloaded

    def _measure_models(self) -> None:
        pooled = [one for one in self._pool.models() if one.model is not None]
        shares: dict[Labels, float] = {}
        for one in pooled:
            for arm in self._arms_of(one):
                labels = (arm.data_type, *_labels(one.version), arm.arm, arm.role)
                shares[labels] = shares.get(labels, 0.0) + arm.share
        self.observer.replace(MODEL_SHARE, shares)
        self.observer.replace(MODEL_MEMORY, {_labels(one.version): one.memory for one in pooled if one.memory})
        self.observer.measure(MODELS_WAITING, len({version.identity for version in self._wanted()}))

    def _measure_update(self, version: PublishedVersion) -> None:
        """Measures how long it took until a version serves, if it was published while this worker was running."""
        published = version.descriptor.published_at / 1000
        if published >= self._began:
            self.observer.measure(UPDATE_LAG, max(0.0, time.time() - published), _labels(version))

    def _report_retired(self, slot: Slot, before: Iterable[PublishedVersion]) -> None:
        """Reports the models that have served but have no version left in the plan."""
        still = {version.identity for version in slot.serving}
        names = {version.descriptor.model_name for version in slot.versions()}
        for version in before:
            if version.identity not in still and version.descriptor.model_name not in names:
                self._events.add("retired", version)
                _LOGGER.info("model %s is retired", version.label)

    def _wanted(self) -> list[PublishedVersion]:
        """The versions that should be loaded now, unless they have failed, in order of preference."""
        return [version for slot in self._slots.values() for version in slot.wanted()]

    def _is_settled(self) -> bool:
        return all(self._pool.failure(version) is not None for version in self._wanted())

    def _instead(self, failed: PublishedVersion) -> str:
        serving = [
            version.label for slot in self._slots.values() if failed in slot.versions() for version in slot.serving
        ]
        return f"{', '.join(serving)} still serves" if serving else "no other model serves yet"

    # --- Leases.

    def _lease_part(self, rows: Rows, generation: PlannedGeneration | None, slot: Slot, deadline: float) -> LeasedPart:
        if generation is None:
            return LeasedPart(rows, forgotten=slot.begins_at_fence())
        segments = (
            tuple(self._lease_arm(slot, arm, deadline) for arm in segment.arms) for segment in generation.segments
        )
        return LeasedPart(rows, generation, arms=tuple(segments))

    def _lease_arm(self, slot: Slot, arm: PlannedArm, deadline: float) -> LeasedArm:
        if arm.graph is not None:
            models = {key: self._lease_arm(slot, one, deadline) for key, one in arm.graph.models.items()}
            return LeasedArm(arm, models=models)
        version = slot.best(arm) or next(iter(arm.versions), None)
        if version is None:
            return LeasedArm(arm, error=f"model {arm.label} is not in the models topic")
        pooled = self._pool.get(version)
        if pooled is None or pooled.model is None:
            if not arm.answers:  # records do not wait for a shadow that is not loaded yet
                return LeasedArm(arm, error=f"model {version.label} is not loaded")
            try:
                pooled = self._wait_for(version, deadline)
            except ModelNotLoadedError as error:
                return LeasedArm(arm, error=str(error))
        self._pool.take(pooled)
        return LeasedArm(arm, pooled, pooled.model)

    def _wait_for(self, version: PublishedVersion, deadline: float) -> PooledModel:
        """Waits until a model is loaded; the lock is released meanwhile.

        Raises:
          ModelNotLoadedError: the model cannot be loaded, or not in time.
        """
        with self._pool.demanded(version):
            self._changed.notify_all()
            while True:
                pooled, failure = self._pool.get(version), self._pool.failure(version)
                if pooled is not None and pooled.model is not None:
                    return pooled
                if failure is not None:
                    raise ModelNotLoadedError(f"model {version.label} could not be loaded: {failure.reason}")
                left = deadline - self._clock()
                if self._closed or left <= 0:
                    raise ModelNotLoadedError(
                        f"model {version.label} was not loaded within {self._settings.model_wait:g} s"
                    )
                self._changed.wait(left)

    def hold(self, pooled: PooledModel) -> None:
        """Keeps open a model that a lease holds now, until it is given back once more."""
        with self._changed:
            self._pool.take(pooled)

    def hold_loaded(self, offset: int) -> PooledModel | None:
        """Keeps open the model whose descriptor is at this offset until it is given back; None if it is not loaded.

        It neither loads a model nor waits for one.
        """
        with self._changed:
            for pooled in self._pool.models():
                if pooled.model is not None and pooled.model.version.offset == offset:
                    self._pool.take(pooled)
                    return pooled
        return None

    def give_back(self, models: Iterable[PooledModel]) -> None:
        """Ends the use of models; called by `Lease`, and after `hold` or `hold_loaded`."""
        with self._changed:
            unloaded = [one for pooled in models for one in self._pool.give_back(pooled)]
        self._close_models(unloaded)

    def count(self, pooled: PooledModel, records: int, errors: int, milliseconds: float) -> None:
        """Adds a call to the statistics of a model: the numbers of records and errors, and the duration."""
        with self._changed:
            pooled.counter.add(records, errors, milliseconds)

    # --- Closing, and reporting.

    def _close_models(self, unloaded: Iterable[Unloaded]) -> None:
        """Closes models without holding the lock, because closing may take long."""
        for one in unloaded:
            one.model.close()
            with self._changed:
                kind: EventKind = "released" if one.pooled.dropped else "unloaded"
                self._events.add(kind, one.pooled.version, statistics=self._statistics(one.pooled))


def _labels(version: PublishedVersion) -> Labels:
    return version.descriptor.model_name, str(version.descriptor.model_version)
