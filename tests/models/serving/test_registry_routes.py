"""The registry with routes: arms, fences, models on demand, and a memory limit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ModelLoadError
from models.loading.loader import LoadedModel, ModelLoader
from models.model_topic.published import PublishedVersion
from models.model_topic.route import Fence, Role
from models.routing.plan import Plan, PlannedArm, PlannedGeneration, PlannedSegment, implicit_plan
from models.serving.leases import Coordinates, parts_of
from models.serving.loads import ModelLoads
from models.serving.registry import ModelRegistry, RegistrySettings
from tests.models.fakes import X_SCHEMA, FakeScorer, NoOpener, OneLease, fake_model, published, scorer_of
from tests.models.serving.test_registry import Clock, kinds, load

WAIT = 20.0


def generation(
    *arms: PublishedVersion | None, fence: int | None = None, offset: int = 1, roles: tuple[Role, ...] = ()
) -> PlannedGeneration:
    """A generation with these arms, named by their positions."""
    planned = tuple(
        PlannedArm(
            () if version is None else (version,), str(place), roles[place] if roles else "serve", label="gone/1"
        )
        for place, version in enumerate(arms)
    )
    return PlannedGeneration((PlannedSegment(planned),), None if fence is None else Fence(fence), offset=offset)


def served(registry: ModelRegistry, timestamp: int = 0) -> str | None:
    with OneLease(registry, timestamp=timestamp) as lease:
        return lease.model.version.label if lease.model else lease.error


@dataclass
class Loader(ModelLoader):
    """Returns fake models; versions in `broken` fail, and a gate delays a load."""

    broken: set[int] = field(default_factory=set)
    gate: threading.Event = field(default_factory=threading.Event)
    models: list[LoadedModel] = field(default_factory=list)
    memory: int = 0

    def __post_init__(self) -> None:
        super().__init__(NoOpener(), lambda offset: b"", [X_SCHEMA.codec])
        self.gate.set()

    def load(self, version: PublishedVersion) -> LoadedModel:
        assert self.gate.wait(WAIT)
        if version.descriptor.model_version in self.broken:
            raise ModelLoadError("broken")
        self.models.append(LoadedModel(version, FakeScorer(version.descriptor.model_version), memory=self.memory))
        return self.models[-1]


@dataclass
class Serving:
    registry: ModelRegistry
    loader: Loader
    loads: ModelLoads

    def close(self) -> None:
        self.loader.gate.set()
        self.registry.close()
        self.loads.close()


Start = Callable[..., Serving]


def start_loads(wait: float = WAIT, memory: int | None = None, each: int = 0, threads: int = 1) -> Serving:
    registry = ModelRegistry("worker", RegistrySettings(model_wait=wait, model_memory=memory))
    loader = Loader(memory=each)
    loads = ModelLoads(registry, loader, threads)
    loads.start()
    return Serving(registry, loader, loads)


@pytest.fixture
def start() -> Iterator[Start]:
    made: list[Serving] = []

    def make(**limits: float) -> Serving:
        made.append(start_loads(**limits))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


# --- Which generation holds for which record.


def coordinates(timestamps: list[int], offsets: list[int] | None = None, partition: int = 0) -> Coordinates:
    places = offsets if offsets is not None else list(range(len(timestamps)))
    return Coordinates("t", partition, np.array(places, np.int64), np.array(timestamps, np.int64))


def test_a_record_is_at_the_fence_when_it_has_its_timestamp_or_offset() -> None:
    assert coordinates([9, 10, 11]).behind(Fence(10)).tolist() == [False, True, True]
    by_offset = Fence(None, {("t", 0): 1, ("t", 1): 0})
    assert coordinates([0, 0, 0]).behind(by_offset).tolist() == [False, True, True]
    assert coordinates([0], [0], partition=1).behind(by_offset).tolist() == [True]
    assert coordinates([0], [7], partition=2).behind(by_offset).tolist() == [False]


@given(
    st.lists(st.none() | st.integers(0, 6), min_size=1, max_size=5),
    st.integers(-1, 4),
    st.lists(st.integers(0, 7), max_size=6),
)
def test_each_record_is_in_one_part_that_of_its_newest_generation(
    fences: list[int | None], current: int, timestamps: list[int]
) -> None:
    plan = tuple(generation(published(place + 1), fence=fence) for place, fence in enumerate(fences))
    in_effect = plan[current] if 0 <= current < len(plan) and fences[current] is None else None
    found: dict[int, PlannedGeneration | None] = {}
    for rows, one in parts_of(plan, in_effect, coordinates(timestamps)):
        for row in rows.tolist():
            assert row not in found
            found[row] = one
    assert set(found) == set(range(len(timestamps)))
    for row, timestamp in enumerate(timestamps):
        newer = plan if in_effect is None else plan[:current]
        behind = (one for one in newer if one.fence is not None and timestamp >= (one.fence.timestamp or 0))
        assert found[row] is next(behind, in_effect)


# --- Without a fence.


@pytest.fixture
def registry() -> ModelRegistry:
    return ModelRegistry("worker", clock=Clock())


def test_a_route_takes_effect_when_all_arms_that_answer_are_loaded(registry: ModelRegistry) -> None:
    registry.update({"m": implicit_plan((published(1),))})
    load(registry)
    both = generation(published(2), published(3), published(4), roles=("serve", "candidate", "shadow"))
    registry.update({"m": (both,)})
    assert served(registry) == "m/1"
    registry.loaded(published(2), fake_model(published(2)))
    assert served(registry) == "m/1"
    registry.loaded(published(3), fake_model(published(3)))
    with registry.lease("m", coordinates([0])) as lease:
        (part,) = lease.parts
        assert [arm.model and arm.model.version.label for arm in part.arms[0]] == ["m/2", "m/3", None]
    load(registry)
    assert "released 1" in kinds(registry)
    assert registry.settled()


def test_an_arm_that_cannot_be_loaded_leaves_the_route_before_in_effect(registry: ModelRegistry) -> None:
    registry.update({"m": (generation(published(1), offset=1),)})
    load(registry)
    registry.update({"m": (generation(published(2), published(3), offset=2), generation(published(1), offset=1))})
    load(registry, published(3))
    assert served(registry) == "m/1"
    assert registry.settled()


def test_a_fresh_worker_falls_back_to_the_generation_before(registry: ModelRegistry) -> None:
    registry.update({"m": (generation(published(2), offset=2), generation(published(1), offset=1))})
    load(registry, published(2))
    assert served(registry) == "m/1"


def test_a_version_of_two_arms_and_routes_is_loaded_once(registry: ModelRegistry) -> None:
    one = published(1)
    registry.update({"m": (generation(one, one),), "d": (generation(one),)})
    models = load(registry)
    assert len(models) == 1
    registry.update({"d": (generation(one),)})
    assert not scorer_of(models[0]).closed.is_set()
    registry.update({})
    assert scorer_of(models[0]).closed.is_set()


# --- With a fence.


def test_before_the_fence_the_old_and_behind_it_the_new_version_answers(start: Start) -> None:
    serving = start()
    serving.registry.update({"m": (generation(published(2), fence=10, offset=2), generation(published(1)))})
    assert [served(serving.registry, at) for at in (9, 10, 11)] == ["m/1", "m/2", "m/2"]


def test_a_batch_at_the_fence_waits_for_the_new_model_and_one_before_it_does_not(start: Start) -> None:
    serving = start()
    serving.registry.update({"m": (generation(published(1)),)})
    assert serving.registry.wait_settled(WAIT)
    serving.loader.gate.clear()
    serving.registry.update({"m": (generation(published(2), fence=10, offset=2), generation(published(1)))})
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(served, serving.registry, 10)
        assert served(serving.registry, 9) == "m/1"
        assert not waiting.done()
        serving.loader.gate.set()
        assert waiting.result(WAIT) == "m/2"


def test_a_record_behind_the_fence_gets_an_error_rather_than_the_answer_of_another_model(start: Start) -> None:
    serving = start()
    serving.loader.broken.add(2)
    serving.registry.update({"m": (generation(published(2), fence=10, offset=2), generation(published(1)))})
    assert served(serving.registry, 10) == "model m/2 could not be loaded: broken"
    assert served(serving.registry, 9) == "m/1"


def test_the_wait_is_bounded(start: Start) -> None:
    serving = start(wait=0.05)
    serving.loader.gate.clear()
    serving.registry.update({"m": (generation(published(2), fence=10, offset=2),)})
    assert served(serving.registry, 10) == "model m/2 was not loaded within 0.05 s"
    serving.loader.gate.set()


def test_a_version_that_is_not_in_the_topic_is_an_error_behind_the_fence(start: Start) -> None:
    serving = start()
    serving.registry.update({"m": (generation(None, fence=10, offset=2), generation(published(1)))})
    assert served(serving.registry, 10) == "model gone/1 is not in the models topic"


def test_a_replay_of_old_records_loads_the_models_of_old_generations_on_demand(start: Start) -> None:
    serving = start()
    plan = tuple(generation(published(number), fence=10 * number, offset=number) for number in range(9, 0, -1))
    serving.registry.update({"m": plan})
    assert serving.registry.wait_settled(WAIT)
    assert len(serving.loader.models) == 2  # the newest two
    assert [served(serving.registry, 10 * number) for number in (1, 5, 9)] == ["m/1", "m/5", "m/9"]
    assert served(serving.registry, 9) is None  # before the first fence
    with serving.registry.lease("m", coordinates([9, 10])) as lease:
        assert {part.rows.tolist()[0]: part.forgotten for part in lease.parts} == {0: True, 1: False}


def test_models_below_a_fence_that_has_passed_are_released_when_they_are_idle() -> None:
    clock = Clock()
    registry = ModelRegistry("worker", clock=clock)
    base = generation(published(1))
    registry.update({"m": (base,)})
    (old,) = load(registry)
    registry.update({"m": (generation(published(2), fence=10, offset=2), base)})
    load(registry)
    clock.now += 60.0
    registry.report_statistics()
    assert not scorer_of(old).closed.is_set()  # no record behind the fence has come
    with OneLease(registry, timestamp=10) as lease:
        lease.count(1, 0, 1.0)
    registry.report_statistics()
    assert scorer_of(old).closed.is_set()
    assert registry.settled()


@dataclass
class History:
    """The published history: the fence and version of each generation, oldest first."""

    every: list[tuple[int | None, int]] = field(default_factory=list)

    def plan(self) -> Plan:
        return tuple(
            generation(published(version), fence=fence, offset=place)
            for place, (fence, version) in reversed(list(enumerate(self.every)))
        )

    def rightful(self, timestamp: int, broken: set[int]) -> str | None:
        for fence, version in reversed(self.every):
            if fence is not None and timestamp >= fence:
                return f"m/{version}" if version not in broken else f"model m/{version} could not be loaded: broken"
            if fence is None and version not in broken:
                return f"m/{version}"
        return None


@settings(max_examples=1_000)
@given(
    st.lists(st.tuples(st.none() | st.integers(0, 5), st.integers(1, 4)), min_size=1, max_size=6),
    st.sets(st.integers(1, 4), max_size=2),
    st.lists(st.integers(0, 6), max_size=4),
)
def test_whatever_is_published_each_record_has_its_rightful_answer(
    published_in_turn: list[tuple[int | None, int]], broken: set[int], timestamps: list[int]
) -> None:
    serving, history = start_loads(), History()
    serving.loader.broken = broken
    previous: str | None = None
    try:
        for one in published_in_turn:
            history.every.append(one)
            serving.registry.update({"m": history.plan()})
            assert serving.registry.wait_settled(WAIT)
            for timestamp in timestamps:
                expected = history.rightful(timestamp, broken)
                assert served(serving.registry, timestamp) == expected
            previous = previous or history.rightful(-1, broken)
    finally:
        serving.close()
    assert all(scorer_of(model).closed.is_set() for model in serving.loader.models)


# --- Reports.


def test_statistics_name_the_arms_of_a_route_with_their_shares_also_when_only_those_change(start: Start) -> None:
    serving = start()
    one, other = published(1), published(2)

    def adopt(offset: int, weight: float, role: Role) -> None:
        live, second = PlannedArm((one,), "live"), PlannedArm((other,), "second", role, weight)
        serving.registry.update({"m": (PlannedGeneration((PlannedSegment((live, second)),), offset=offset),)})
        assert serving.registry.wait_settled(WAIT)

    def arms() -> dict[int, list[tuple[str, str, float]]]:
        serving.registry.report_statistics()
        events = serving.registry.drain_events()
        return {
            event.model_version: [(arm.arm, arm.role, arm.share) for arm in event.statistics.arms]
            for event in events
            if event.statistics is not None
        }

    adopt(1, 0.5, "shadow")
    assert arms() == {1: [("live", "serve", 1.0)], 2: [("second", "shadow", 0.5)]}
    assert arms() == {}
    adopt(2, 0.25, "candidate")
    assert arms() == {1: [("live", "serve", 0.8)], 2: [("second", "candidate", 0.2)]}


# --- Many models, and a limit of memory.


def test_a_hundred_models_serve_under_a_budget_for_twenty(start: Start) -> None:
    serving = start(memory=20 * 100, each=100, threads=2)
    versions = {f"t{number}": published(number, f"t{number}", offset=number) for number in range(1, 101)}
    serving.registry.update({name: (generation(version),) for name, version in versions.items()})
    assert serving.registry.wait_settled(WAIT)
    open_now = [model for model in serving.loader.models if not scorer_of(model).closed.is_set()]
    assert len(open_now) == 20
    for name, version in versions.items():
        with OneLease(serving.registry, name) as lease:
            assert lease.model is not None
            assert lease.model.version is version
            assert not scorer_of(lease.model).closed.is_set()
    loaded = len(serving.loader.models)
    assert loaded <= 200
    with OneLease(serving.registry, "t100") as lease:  # used last, so it is still there
        assert lease.model is not None
    assert len(serving.loader.models) == loaded
    assert {event.kind for event in serving.registry.drain_events()} == {"loading", "serving", "unloaded"}


def test_a_model_in_use_is_not_unloaded_and_one_above_the_budget_serves_alone(start: Start) -> None:
    serving = start(memory=150, each=100)
    serving.registry.update({"a": (generation(published(1, "a")),), "b": (generation(published(2, "b")),)})
    assert serving.registry.wait_settled(WAIT)
    with OneLease(serving.registry, "a") as one, OneLease(serving.registry, "b") as other:
        assert one.model is not None
        assert other.model is not None
        assert not scorer_of(one.model).closed.is_set()
        assert not scorer_of(other.model).closed.is_set()
        in_use = one.model, other.model
    assert sorted(scorer_of(model).closed.is_set() for model in in_use) == [False, True]


def test_several_models_are_loaded_at_a_time(start: Start) -> None:
    serving = start(threads=3)
    at_once = threading.Barrier(3)

    def load_together(version: PublishedVersion) -> LoadedModel:
        at_once.wait(WAIT)  # breaks unless three threads load at once
        return fake_model(version)

    serving.loader.load = load_together  # type: ignore[method-assign]
    serving.registry.update({name: (generation(published(1, name)),) for name in "abc"})
    assert serving.registry.wait_settled(WAIT)
    assert not at_once.broken
    assert [served_by(serving.registry, name) for name in "abc"] == ["a/1", "b/1", "c/1"]


def served_by(registry: ModelRegistry, data_type: str) -> str | None:
    with OneLease(registry, data_type) as lease:
        return lease.model.version.label if lease.model else None
