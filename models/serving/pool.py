"""The loaded models of a process, by version.

Several routes, generations and arms may use the same version of a model; it is loaded once. The pool belongs to a
registry and is used under its lock. It knows nothing about routes: the registry decides which versions are needed.

If there is a memory budget, the least recently used models are unloaded while the total is above it. They stay in the
pool, and can be loaded again on demand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from models.loading.loader import LoadedModel
from models.model_topic.published import Identity, PublishedVersion
from models.status.events import ArmShare, CallCounter, ModelStatistics


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
class PooledModel:
    """A version that is loaded, or was and can be loaded again.

    Attributes:
      version: the published version.
      model: the loaded model; None while it is unloaded to save memory.
      counter: the statistics of its calls, which unloading does not reset.
      users: the number of batches that use it now.
      used_at: when a batch last used it, in seconds of the pool's clock.
      memory: the bytes that it takes while it is loaded.
      dropped: whether it is no longer needed by any route; it is closed after its last batch.
      reported: the number of its calls and its arms when its statistics were last reported.
    """

    version: PublishedVersion
    model: LoadedModel | None
    counter: CallCounter
    users: int = 0
    used_at: float = 0.0
    memory: int = 0
    dropped: bool = False
    reported: tuple[int, tuple[ArmShare, ...]] = (0, ())

    def statistics(self) -> ModelStatistics:
        """The statistics so far, without the arms of routes, which the pool does not know."""
        descriptor = self.version.descriptor
        found = self.counter.statistics(descriptor.model_name, descriptor.model_version, descriptor.description)
        if self.model is None:
            return replace(found, digest=descriptor.digest)
        return replace(found, digest=self.model.scorer.digest, memory=self.memory)


@dataclass(frozen=True)
class Failure:
    """The failed loads of a version: how many in a row, when the next attempt is due, and the last reason."""

    version: PublishedVersion
    count: int
    due: float
    reason: str


@dataclass(frozen=True)
class Unloaded:
    """A model that the caller must close, without holding the lock."""

    pooled: PooledModel
    model: LoadedModel


@dataclass
class ModelPool:
    """The models of a process. Not thread-safe: its registry's lock is held for every call.

    Attributes:
      pauses: the pauses before a failed load is tried again.
      clock: returns a number of seconds that never decreases.
      budget: the bytes that the loaded models may take together; None for no limit.
    """

    pauses: RetryPauses
    clock: Callable[[], float]
    budget: int | None = None
    _models: dict[Identity, PooledModel] = field(default_factory=dict)
    # By the offset of the version's message. A recreated topic may contain another version at the same offset.
    _failures: dict[int, Failure] = field(default_factory=dict)
    _loading: set[Identity] = field(default_factory=set)
    # One entry for each batch that waits.
    _demanded: list[PublishedVersion] = field(default_factory=list)

    def get(self, version: PublishedVersion) -> PooledModel | None:
        """The model of this version, loaded or unloaded; None if it was never loaded."""
        return self._models.get(version.identity)

    def models(self) -> list[PooledModel]:
        """All models, loaded and unloaded."""
        return list(self._models.values())

    def failure(self, version: PublishedVersion) -> Failure | None:
        """Why the version could not be loaded; None if the last attempt did not fail."""
        found = self._failures.get(version.offset)
        return found if found is not None and found.version == version else None

    @contextmanager
    def demanded(self, version: PublishedVersion) -> Iterator[None]:
        """While a batch waits for a version, gives it precedence over versions that are only wanted, and keeps it."""
        self._demanded.append(version)
        try:
            yield
        finally:
            self._demanded.remove(version)

    def demands(self) -> tuple[PublishedVersion, ...]:
        """The versions that batches wait for."""
        return tuple(self._demanded)

    def next_load(self, wanted: Iterable[PublishedVersion]) -> PublishedVersion | None:
        """The version to load now: the first demanded or wanted one that is due and neither loaded nor loading."""
        demands = self.demands()
        for place, version in enumerate((*demands, *wanted)):
            pooled, failure = self.get(version), self.failure(version)
            absent = pooled is None or (pooled.model is None and place < len(demands))
            due = failure is None or failure.due <= self.clock()
            if absent and due and version.identity not in self._loading:
                self._loading.add(version.identity)
                return version
        return None

    def next_due(self, wanted: Iterable[PublishedVersion]) -> float | None:
        """Seconds until one of the wanted or demanded versions is due again; None if none of them has failed."""
        waiting = (one for one in (*self._demanded, *wanted) if one.identity not in self._loading)
        failures = map(self.failure, waiting)
        dues = [failure.due - self.clock() for failure in failures if failure is not None]
        return max(0.0, min(dues)) if dues else None

    def add(self, version: PublishedVersion, model: LoadedModel) -> PooledModel:
        """Adds a model that was loaded, or loaded again."""
        self._loading.discard(version.identity)
        self._failures.pop(version.offset, None)
        pooled = self._models.get(version.identity)
        if pooled is None:
            pooled = self._models[version.identity] = PooledModel(version, None, CallCounter(since=_now()))
        pooled.model, pooled.memory, pooled.used_at = model, model.memory, self.clock()
        return pooled

    def discard(self, version: PublishedVersion) -> None:
        """Forgets that a version is being loaded, because it is no longer wanted."""
        self._loading.discard(version.identity)

    def fail(self, version: PublishedVersion, reason: str) -> Failure:
        """Records a failed load, which is due again after a pause."""
        self._loading.discard(version.identity)
        known = self.failure(version)
        count = known.count + 1 if known else 1
        failure = Failure(version, count, self.clock() + self.pauses.after(count), reason)
        self._failures[version.offset] = failure
        return failure

    def keep_failures(self, known: Iterable[PublishedVersion]) -> None:
        """Forgets the failures of all other versions."""
        by_offset = {version.offset: version for version in known}
        self._failures = {at: one for at, one in self._failures.items() if by_offset.get(at) == one.version}

    def drop_others(self, needed: Iterable[PublishedVersion]) -> list[Unloaded]:
        """Drops all models except the needed ones; returns those to close now, while those in use close later."""
        identities = {version.identity for version in needed}
        dropped = [one for at, one in self._models.items() if at not in identities]
        self._models = {at: one for at, one in self._models.items() if at in identities}
        for one in dropped:
            one.dropped = True
        return [unloaded for one in dropped if (unloaded := _unload(one)) is not None]

    def shrink(self) -> list[Unloaded]:
        """Unloads the least recently used models while the total is above the budget; returns those to close.

        Models in use stay, and so does the one used last, so that a model above the budget can serve alone.
        """
        if self.budget is None:
            return []
        loaded = sorted((one for one in self._models.values() if one.model), key=lambda one: one.used_at)
        total = sum(one.memory for one in loaded)
        found = []
        for one in loaded[:-1]:
            if total <= self.budget:
                break
            if (unloaded := _unload(one)) is not None:
                total -= one.memory
                found.append(unloaded)
        return found

    def take(self, pooled: PooledModel) -> None:
        """Counts a batch that uses the model."""
        pooled.users += 1
        pooled.used_at = self.clock()

    def give_back(self, pooled: PooledModel) -> list[Unloaded]:
        """Ends the use by a batch; returns the models to close."""
        pooled.users -= 1
        if pooled.dropped:
            unloaded = _unload(pooled)
            return [unloaded] if unloaded is not None else []
        return self.shrink() if pooled.users == 0 else []


def _unload(pooled: PooledModel) -> Unloaded | None:
    """Removes the model from its entry in the pool, unless a batch uses it."""
    if pooled.users or pooled.model is None:
        return None
    model, pooled.model = pooled.model, None
    return Unloaded(pooled, model)


def _now() -> int:
    return time.time_ns() // 1_000_000
