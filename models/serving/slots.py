"""The state of one data type in a registry: which generation of its route is in effect, and which models it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from models.model_topic.published import PublishedVersion
from models.routing.plan import Plan, PlannedArm, PlannedGeneration
from models.serving.pool import ModelPool
from models.status.events import ArmShare

# With fences, the models of this many generations are loaded before a record needs them: those of the generation that
# applies now and of the next one. The models of earlier generations are loaded on demand.
_LOADED_AHEAD = 2
# A model that only an earlier generation needs is dropped this many seconds after its last use.
_IDLE_SECONDS = 30.0


class Slot:
    """The plan of one data type, and the generation in effect. Not thread-safe: the registry's lock guards it.

    Attributes:
      plan: the generations of the route, the newest first.
      current: the generation in effect; None before one is.
      serving: the versions that the arms of the current generation use.

    Args:
      pool: the loaded models.
      clock: returns a number of seconds that never decreases; used for idle times.
    """

    def __init__(self, pool: ModelPool, clock: Callable[[], float]) -> None:
        self._pool = pool
        self._clock = clock
        self.plan: Plan = ()
        self.current: PlannedGeneration | None = None
        self.serving: tuple[PublishedVersion, ...] = ()

    def is_fenced(self) -> bool:
        """Whether a generation of the plan has a fence."""
        return any(one.fence is not None for one in self.plan)

    def begins_at_fence(self) -> bool:
        """Whether even the oldest generation of the plan has a fence, so that none applies to the records before it."""
        return bool(self.plan) and self.plan[-1].fence is not None

    def adopt(self, plan: Plan) -> None:
        """Replaces the plan; the new one may contain the current generation."""
        self.plan = plan
        if self.current is not None and self.current.offset is not None:
            same = (one for one in plan if one.offset == self.current.offset)
            self.current = next(same, self.current)

    def versions(self) -> list[PublishedVersion]:
        """All versions of the plan."""
        return [version for generation in self.plan for version in generation.versions()]

    def choose(self) -> None:
        """Puts into effect the newest generation without a fence whose answering arms all have a model."""
        if not self.versions():
            self.current, self.serving = None, ()
            return
        for generation in self.plan:
            if generation.fence is None and self._can_answer(generation):
                self.current = generation
                best = (self.best(one) for arm in generation.arms for one in arm.needs)
                self.serving = tuple(version for version in best if version is not None)
                return

    def base(self) -> PlannedGeneration | None:
        """The generation for the records behind no fence: the current one.

        If the newest generation has a fence, the models of the one below may not be loaded, because no record needed
        them. That generation applies to the records before the fence nevertheless, unless its models failed to load.
        """
        if self.current is not None or not self.is_fenced():
            return self.current
        for generation in self.plan:
            failed = any(self._pool.failure(version) is not None for version in generation.versions())
            if generation.fence is None and not failed:
                return generation
        return None

    def arms_of(self, version: PublishedVersion, data_type: str) -> Iterator[ArmShare]:
        """The arms of the current generation that this version answers in."""
        for segment in () if self.current is None else self.current.segments:
            total = sum(arm.weight for arm in segment.arms if arm.answers)
            for arm in segment.arms:
                if any(self.best(one) == version for one in arm.needs):
                    share = arm.weight / total if arm.answers else arm.weight
                    yield ArmShare(data_type, arm.name, arm.role, share, segment.condition)

    def _can_answer(self, generation: PlannedGeneration) -> bool:
        answering = [arm for arm in generation.arms if arm.answers]
        return all(self.best(one) is not None for arm in answering for one in arm.needs)

    def best(self, arm: PlannedArm) -> PublishedVersion | None:
        """The first version of the arm that was loaded."""
        return next((version for version in arm.versions if self._pool.get(version) is not None), None)

    def needed(self) -> Iterator[PublishedVersion]:
        """The versions whose models are kept."""
        required = list(self._required())
        if _contains(required, self.current) or not _contains(self.plan, self.current):
            yield from self.serving
        yield from (version for one in required if one is not self.current for version in one.versions())
        if self.is_fenced():  # records before a fence may still come, so what they need is kept for a while
            yield from (version for version in (*self.versions(), *self.serving) if self._is_recent(version))

    def _is_recent(self, version: PublishedVersion) -> bool:
        pooled = self._pool.get(version)
        return pooled is not None and self._clock() - pooled.used_at < _IDLE_SECONDS

    def _required(self) -> Iterator[PlannedGeneration]:
        """The generations whose models are loaded before a record needs them, the newest first.

        Those below a fence are no longer needed once records behind it have arrived.
        """
        fenced = passed = False
        for place, generation in enumerate(self.plan):
            if fenced and (place >= _LOADED_AHEAD or passed):
                return
            yield generation
            if generation is self.current:
                return
            if generation.fence is not None:
                fenced = True
                passed = passed or self._was_used(generation)

    def _was_used(self, generation: PlannedGeneration) -> bool:
        pooled = [self._pool.get(version) for version in generation.versions()]
        return any(one is not None and one.counter.calls > 0 for one in pooled)

    def wanted(self) -> Iterator[PublishedVersion]:
        """The versions that should be loaded now, unless they have failed, in order of preference."""
        for generation in self._required():
            for arm in sorted(generation.arms, key=lambda arm: not arm.answers):
                for one in arm.needs:
                    yield from self._better(one)

    def _better(self, arm: PlannedArm) -> Iterator[PublishedVersion]:
        """The versions of the arm that come before its best loaded one."""
        for version in arm.versions:
            if self._pool.get(version) is not None:
                return
            yield version


def _contains(generations: Iterable[PlannedGeneration], one: PlannedGeneration | None) -> bool:
    return any(generation is one for generation in generations)
