from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ModelLoadError
from models.loading.loader import LoadedModel
from models.model_topic.published import PublishedVersion
from models.routing.plan import implicit_plan
from models.serving.pool import RetryPauses
from models.serving.registry import ModelRegistry, RegistrySettings
from models.status.events import ArmShare
from tests.models.fakes import X_SCHEMA, FakeScorer, OneLease, columns_of, fake_model, published, scorer_of

WAIT = 20.0
MOST_LOADS = 200  # more than any test needs; a registry that drops its models would load them for ever


class Clock:
    """A clock that stands still until a test advances it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(clock: Clock) -> ModelRegistry:
    """A registry whose leases never wait: if a required model is missing, the test fails at once."""
    pauses = RetryPauses(first=1.0, factor=2.0, longest=5.0)
    return ModelRegistry("worker", RegistrySettings(pauses, model_wait=0.0), clock)


def want(registry: ModelRegistry, *versions: PublishedVersion) -> None:
    registry.update({"m": implicit_plan(versions)} if versions else {})


def load(registry: ModelRegistry, *broken: PublishedVersion) -> list[LoadedModel]:
    """Loads every version that the registry requires now; `broken` versions fail."""
    models: list[LoadedModel] = []
    while version := registry.next_load():
        assert len(models) < MOST_LOADS, f"the registry does not keep {version.label}, and asks for it again"
        if version in broken:
            registry.failed(version, ModelLoadError("broken"))
        else:
            models.append(fake_model(version))
            registry.loaded(version, models[-1])
    return models


def serving(registry: ModelRegistry, data_type: str = "m") -> str | None:
    with OneLease(registry, data_type) as lease:
        return lease.model.version.label if lease.model else None


def kinds(registry: ModelRegistry) -> list[str]:
    return [f"{event.kind} {event.model_version}" for event in registry.drain_events()]


# --- The swap.


def test_a_model_is_loaded_swapped_in_and_the_old_one_released(registry: ModelRegistry) -> None:
    want(registry, published(1))
    (first,) = load(registry)
    want(registry, published(2), published(1))
    assert serving(registry) == "m/1"
    assert not registry.settled()
    (second,) = load(registry)
    assert serving(registry) == "m/2"
    assert registry.settled()
    assert scorer_of(first).closed.is_set()
    assert not scorer_of(second).closed.is_set()
    assert kinds(registry) == ["loading 1", "serving 1", "loading 2", "serving 2", "released 1"]


def test_a_replaced_model_is_closed_only_after_its_last_lease(registry: ModelRegistry) -> None:
    want(registry, published(1))
    (model,) = load(registry)
    one, other = OneLease(registry, "m"), OneLease(registry, "m")
    want(registry, published(2), published(1))
    load(registry)
    for lease in (one, other):
        assert not scorer_of(model).closed.is_set()
        assert lease.model is model
        with lease:
            pass
    assert scorer_of(model).closed.is_set()


def test_closing_a_model_does_not_hold_up_the_others(registry: ModelRegistry) -> None:
    closing, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        closing.set()
        assert go_on.wait(WAIT)

    want(registry, published(1))
    version = registry.next_load()
    assert version is not None
    registry.loaded(version, fake_model(version, FakeScorer(1, wait)))
    want(registry, published(2), published(1))
    swap = threading.Thread(target=load, args=(registry,))
    swap.start()
    assert closing.wait(WAIT)
    with ThreadPoolExecutor(1) as pool:
        try:
            assert pool.submit(serving, registry).result(WAIT) == "m/2"
        finally:
            go_on.set()
            swap.join(WAIT)
    assert kinds(registry)[-1] == "released 1"


def test_a_model_that_cannot_be_closed_is_out_of_use_all_the_same(registry: ModelRegistry) -> None:
    def fail() -> None:
        raise RuntimeError("stuck")

    want(registry, published(1))
    registry.loaded(published(1), fake_model(published(1), FakeScorer(1, fail)))
    want(registry, published(2))
    load(registry)
    assert serving(registry) == "m/2"
    assert "released 1" in kinds(registry)


def test_updates_are_idempotent(registry: ModelRegistry) -> None:
    for _ in range(3):
        want(registry, published(1))
        load(registry)
    assert kinds(registry) == ["loading 1", "serving 1"]


def test_a_version_that_was_published_again_unchanged_is_not_loaded_again(registry: ModelRegistry) -> None:
    want(registry, published(1, offset=5))
    load(registry)
    want(registry, published(1, offset=9))
    assert registry.next_load() is None
    assert registry.settled()


# --- Late events.


def test_a_model_that_is_unwanted_by_the_time_it_has_loaded_is_closed(registry: ModelRegistry) -> None:
    want(registry, published(1))
    version = registry.next_load()
    assert version is not None
    want(registry, published(2), published(1))
    load(registry)
    late = fake_model(version)
    registry.loaded(version, late)
    assert scorer_of(late).closed.is_set()
    assert serving(registry) == "m/2"


def test_an_older_version_never_replaces_a_newer_one(registry: ModelRegistry) -> None:
    want(registry, published(2), published(1))
    version = registry.next_load()
    assert version == published(2)
    registry.loaded(published(2), fake_model(published(2)))
    old = fake_model(published(1))
    registry.loaded(published(1), old)
    assert scorer_of(old).closed.is_set()
    assert serving(registry) == "m/2"


def test_a_model_of_an_unknown_data_type_is_closed(registry: ModelRegistry) -> None:
    model = fake_model(published(1))
    registry.loaded(published(1), model)
    registry.failed(published(1), ModelLoadError("broken"))
    assert scorer_of(model).closed.is_set()
    assert serving(registry) is None


def test_the_failure_of_a_version_that_is_no_candidate_any_more_is_forgotten(registry: ModelRegistry) -> None:
    want(registry, published(1))
    want(registry, published(2))
    registry.failed(published(1), ModelLoadError("broken"))
    assert registry.next_due() is None
    assert kinds(registry) == []


# --- Failures.


def test_a_failed_load_keeps_the_last_good_model_under_its_own_version(registry: ModelRegistry) -> None:
    want(registry, published(1))
    load(registry)
    want(registry, published(2), published(1))
    load(registry, published(2))
    assert serving(registry) == "m/1"
    assert registry.settled()
    events = [event for event in registry.drain_events() if event.kind == "failed"]
    assert [(event.model_version, event.error) for event in events] == [(2, "broken")]


def test_a_failed_load_is_tried_again_with_growing_pauses(registry: ModelRegistry, clock: Clock) -> None:
    want(registry, published(1))
    for pause in (1.0, 2.0, 4.0, 5.0, 5.0):
        load(registry, published(1))
        assert registry.next_due() == pytest.approx(pause)
        clock.now += pause - 0.01
        assert registry.next_load() is None
        clock.now += 0.02
        assert registry.next_due() == 0
    load(registry)
    assert serving(registry) == "m/1"
    assert registry.next_due() is None


def test_a_newer_descriptor_is_tried_at_once(registry: ModelRegistry) -> None:
    want(registry, published(1))
    load(registry, published(1))
    assert registry.next_load() is None
    want(registry, published(2), published(1))
    assert registry.next_load() == published(2)


def test_a_broken_version_published_again_is_tried_at_once_and_its_pauses_restart(
    registry: ModelRegistry, clock: Clock
) -> None:
    want(registry, published(1, offset=1))
    load(registry, published(1, offset=1))
    clock.now += 1.5
    load(registry, published(1, offset=1))
    want(registry, published(1, offset=2))
    load(registry, published(1, offset=2))
    assert registry.next_due() == pytest.approx(1.0)


def test_a_fresh_worker_that_cannot_load_the_live_version_serves_the_one_before(
    registry: ModelRegistry, clock: Clock
) -> None:
    want(registry, published(2), published(1))
    load(registry, published(2))
    assert serving(registry) == "m/1"
    assert kinds(registry) == ["loading 2", "failed 2", "loading 1", "serving 1"]
    clock.now += 1.5
    load(registry)
    assert serving(registry) == "m/2"


def test_pauses_of_many_failures_stay_finite() -> None:
    assert RetryPauses().after(1) == 1.0
    assert RetryPauses().after(10_000) == 60.0


# --- Retirement, rollback, several models.


def test_a_retired_model_serves_no_more_and_is_released_after_its_last_lease(registry: ModelRegistry) -> None:
    want(registry, published(1))
    (model,) = load(registry)
    lease = OneLease(registry, "m")
    want(registry)
    assert serving(registry) is None
    assert not scorer_of(model).closed.is_set()
    with lease:
        pass
    assert scorer_of(model).closed.is_set()
    assert kinds(registry) == ["loading 1", "serving 1", "retired 1", "released 1"]


def test_a_model_comes_back_after_it_was_retired(registry: ModelRegistry) -> None:
    want(registry, published(1))
    load(registry)
    want(registry)
    want(registry, published(1))
    load(registry)
    assert serving(registry) == "m/1"


def test_a_rollback_loads_the_earlier_version_and_serves_it(registry: ModelRegistry) -> None:
    want(registry, published(2), published(1))
    load(registry)
    want(registry, published(1), published(2))
    assert serving(registry) == "m/2"
    load(registry)
    assert serving(registry) == "m/1"


def test_each_data_type_has_a_model_of_its_own(registry: ModelRegistry) -> None:
    other = published(7, "n", data_type="d")
    registry.update({"m": implicit_plan((published(1),)), "d": implicit_plan((other,))})
    load(registry)
    assert (serving(registry), serving(registry, "d"), serving(registry, "e")) == ("m/1", "n/7", None)
    registry.update({"d": implicit_plan((other,))})
    assert (serving(registry), serving(registry, "d")) == (None, "n/7")


def test_a_lease_of_no_model_counts_nothing(registry: ModelRegistry) -> None:
    with OneLease(registry, "nothing") as lease:
        lease.count(1, 1, 1.0)
        assert lease.model is None
    registry.report_statistics()
    assert registry.drain_events() == []


def test_closing_releases_all_models_those_in_use_later(registry: ModelRegistry) -> None:
    other = published(2, "n", data_type="d")
    registry.update({"m": implicit_plan((published(1),)), "d": implicit_plan((other,))})
    first, second = load(registry)
    lease = OneLease(registry, "m")
    registry.close()
    assert scorer_of(second).closed.is_set()
    assert not scorer_of(first).closed.is_set()
    with lease:
        pass
    assert scorer_of(first).closed.is_set()
    late = fake_model(published(3))
    registry.loaded(published(3), late)
    assert scorer_of(late).closed.is_set()


# --- Events and statistics.


def test_statistics_count_calls_and_end_with_the_model(registry: ModelRegistry) -> None:
    want(registry, published(1))
    load(registry)
    with OneLease(registry, "m") as lease:
        lease.count(10, 0, 4.0)
        lease.count(2, 2, 2.0)
    registry.report_statistics()
    statistics = registry.drain_events()[-1].statistics
    assert statistics is not None
    assert (statistics.usage, statistics.errors, statistics.calls) == (12, 2, 2)
    assert (statistics.average, statistics.minimum, statistics.maximum) == (3.0, 2.0, 4.0)
    assert (statistics.digest, statistics.arms) == ("0" * 64, (ArmShare("m", "", "serve", 1.0),))
    want(registry)
    ended = registry.drain_events()[-1].statistics
    assert ended is not None
    assert (ended.usage, ended.p50, ended.arms) == (12, statistics.p50, ())


def test_the_state_of_a_worker_is_reported_when_it_changes_and_every_ten_seconds(
    registry: ModelRegistry, clock: Clock
) -> None:
    def states() -> list[tuple[int, tuple[str, ...]]]:
        return [(one.state.position, one.state.waiting) for one in registry.drain_events() if one.state is not None]

    want(registry, published(1))
    registry.report_state(5, "id")
    registry.report_state(6, "id")
    assert states() == [(6, ("m/1",))]
    load(registry)
    registry.report_state(6, "id")
    assert states() == [(6, ())]
    clock.now += 9.0
    registry.report_state(6, "id")
    assert states() == []
    clock.now += 1.0
    registry.report_state(6, "id")
    assert states() == [(6, ())]


def test_statistics_that_are_not_drained_do_not_pile_up(registry: ModelRegistry) -> None:
    want(registry, published(1))
    load(registry)
    for _ in range(1000):
        with OneLease(registry, "m") as lease:
            lease.count(1, 0, 1.0)
        registry.report_statistics()
    assert kinds(registry) == ["loading 1", "serving 1", "statistics 1"]


def test_statistics_of_a_model_without_new_calls_are_reported_once(registry: ModelRegistry) -> None:
    want(registry, published(1))
    load(registry)
    with OneLease(registry, "m") as lease:
        lease.count(1, 0, 1.0)
    registry.report_statistics()
    registry.report_statistics()
    assert kinds(registry) == ["loading 1", "serving 1", "statistics 1"]
    registry.report_statistics()
    assert kinds(registry) == []


# --- A retired model while another one wants its records.


def two_models(registry: ModelRegistry) -> LoadedModel:
    """Retires n/1, which serves, while m/1 is live for the same records; returns the model of n/1."""
    other = published(1, "n", data_type="m", offset=99)
    want(registry, other, published(1))
    (model,) = load(registry)
    want(registry, published(1))
    return model


def test_a_retired_model_serves_until_the_other_one_has_loaded(registry: ModelRegistry) -> None:
    retired = two_models(registry)
    assert serving(registry) == "n/1"
    assert not registry.settled()
    load(registry)
    assert serving(registry) == "m/1"
    assert scorer_of(retired).closed.is_set()
    told = [(event.kind, event.model_name) for event in registry.drain_events()]
    assert told == [
        ("loading", "n"),
        ("serving", "n"),
        ("loading", "m"),
        ("retired", "n"),
        ("serving", "m"),
        ("released", "n"),
    ]


def test_a_retired_model_serves_while_the_other_one_fails_to_load(registry: ModelRegistry, clock: Clock) -> None:
    two_models(registry)
    load(registry, published(1))
    assert serving(registry) == "n/1"
    clock.now += 1.5
    load(registry)
    assert serving(registry) == "m/1"


def test_a_retired_model_stops_when_the_other_one_is_retired_too(registry: ModelRegistry) -> None:
    retired = two_models(registry)
    want(registry)
    assert serving(registry) is None
    assert scorer_of(retired).closed.is_set()
    assert [event.kind for event in registry.drain_events()][-2:] == ["retired", "released"]


def test_a_retired_model_that_returns_in_time_continues_to_serve(registry: ModelRegistry) -> None:
    two_models(registry)
    want(registry, published(1, "n", data_type="m", offset=120), published(1))
    assert registry.settled()
    assert serving(registry) == "n/1"
    assert "retired 1" not in kinds(registry)


def test_another_version_at_the_offset_of_one_that_failed_is_tried_at_once(registry: ModelRegistry) -> None:
    want(registry, published(1, offset=5))
    load(registry, published(1, offset=5))
    want(registry, published(2, offset=5))
    assert registry.next_load() == published(2, offset=5)


def test_events_name_the_deployment() -> None:
    registry = ModelRegistry("worker", RegistrySettings(deployment="group"))
    want(registry, published(1))
    load(registry)
    registry.report_stopped("two partitions")
    events = registry.drain_events()
    assert [(event.kind, event.deployment) for event in events] == [
        ("loading", "group"),
        ("serving", "group"),
        ("stopped", "group"),
    ]
    assert events[-1].error == "two partitions"


def test_events_are_taken_once(registry: ModelRegistry) -> None:
    want(registry, published(1))
    load(registry)
    assert {event.worker for event in registry.drain_events()} == {"worker"}
    assert registry.drain_events() == []


# --- Waiting.


def test_waiting_ends_when_the_candidate_serves_or_has_failed(registry: ModelRegistry) -> None:
    assert registry.wait_settled(WAIT)
    for number, broken in ((1, ()), (2, (published(2),))):
        want(registry, published(number))
        assert not registry.wait_settled(0)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(registry.wait_settled, WAIT)
            load(registry, *broken)
            assert waiting.result(WAIT)


# --- Whatever happens.


@given(st.lists(st.sampled_from(["want", "load", "fail", "lease", "return", "tick"]), max_size=40), st.data())
def test_whatever_happens_a_leased_model_is_open_and_an_unused_one_is_closed(
    steps: list[str], data: st.DataObject
) -> None:
    clock = Clock()
    registry = ModelRegistry("worker", clock=clock)
    models: list[LoadedModel] = []
    leases = []
    for step in steps:
        if step == "want":
            numbers = data.draw(st.lists(st.integers(1, 4), max_size=2, unique=True))
            want(registry, *map(published, numbers))
        elif step == "load" and (version := registry.next_load()):
            models.append(fake_model(version))
            registry.loaded(version, models[-1])
        elif step == "fail" and (version := registry.next_load()):
            registry.failed(version, ModelLoadError("broken"))
        elif step == "lease":
            leases.append(OneLease(registry, "m"))
        elif step == "return" and leases:
            with leases.pop(data.draw(st.integers(0, len(leases) - 1))):
                pass
        elif step == "tick":
            clock.now += 1.0
        used = {id(lease.model) for lease in leases if lease.model}
        with OneLease(registry, "m") as lease:
            used.add(id(lease.model))
        assert all(scorer_of(model).closed.is_set() == (id(model) not in used) for model in models)


@contextmanager
def threads(count: int, target: object) -> Iterator[list[BaseException]]:
    """Runs `target` in threads; their errors are raised at the end."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            target()  # type: ignore[operator]
        except BaseException as error:
            errors.append(error)

    running = [threading.Thread(target=run) for _ in range(count)]
    for thread in running:
        thread.start()
    yield errors
    for thread in running:
        thread.join(WAIT)
    if errors:
        raise errors[0]


def test_during_swaps_no_lease_ever_sees_a_closed_model(registry: ModelRegistry) -> None:
    done = threading.Event()
    seen: set[int] = set()
    models: list[LoadedModel] = []
    columns = columns_of(X_SCHEMA, [{"x": 1.0, "dataType": "m"}] * 3)

    def score() -> None:
        last = 0
        while not done.is_set():
            with OneLease(registry, "m") as lease:
                model = lease.model
                if model is None:
                    continue
                outputs, _ = model.score(X_SCHEMA.codec, columns)  # a FakeScorer fails when it was closed
                number = int(outputs.arrays["version"][0])
                assert number == model.version.descriptor.model_version
                assert number >= last, "an older model came back"
                last = number
                seen.add(number)

    with threads(4, score) as errors:
        for number in range(1, 301):
            want(registry, published(number), *([published(number - 1)] if number > 1 else []))
            models += load(registry)
            if errors:
                break
        done.set()
    assert len(models) == 300
    assert len(seen) > 1
    assert [scorer_of(model).closed.is_set() for model in models] == [True] * 299 + [False]


# --- Models that others hold without loading them.


def test_a_model_that_is_held_stays_open_until_it_is_given_back(registry: ModelRegistry) -> None:
    want(registry, published(1))
    (first,) = load(registry)
    held = registry.hold_loaded(first.version.offset)
    assert held is not None and held.model is first
    want(registry, published(2))
    load(registry)
    assert not scorer_of(first).closed.is_set()
    registry.give_back([held])
    assert scorer_of(first).closed.is_set()


def test_a_model_that_is_not_loaded_is_not_held_and_not_demanded(registry: ModelRegistry) -> None:
    want(registry, published(1))
    assert registry.hold_loaded(published(1).offset) is None
    load(registry)
    assert registry.hold_loaded(published(2).offset) is None
    assert registry.next_load() is None
