from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from models.errors import KafkaUnreachableError, ModelLoadError, ModelsNotFollowedError, ModelsTopicError
from models.loading.loader import LoadedModel, ModelLoader
from models.model_topic.catalog import ModelCatalog
from models.model_topic.descriptor import ModelDescriptor, ModelPointer, encode_descriptor, encode_pointer
from models.model_topic.published import PublishedVersion
from models.model_topic.reader import ModelsTopicReader, TopicState
from models.serving.follower import FollowerSettings, ModelFollower
from models.serving.pool import RetryPauses
from models.serving.registry import ModelRegistry, RegistrySettings
from tests.models.fakes import X_SCHEMA, NoOpener, OneLease, fake_model, scorer_of

WAIT = 20.0


def at(position: int, topic_id: str = "first") -> dict[str, int]:
    return {topic_id: position}


class Topic(ModelsTopicReader):
    """A models topic in memory; `fail` is raised once, at the next access."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes | None]] = []
        self.topic_id = "first"
        self.errors: list[Exception] = []
        self.asked = 0
        self.closed = threading.Event()
        self.changed = threading.Condition()

    def publish(self, number: int, previous: int | None = None, name: str = "m") -> int:
        """Publishes a version and makes it live; returns the topic's end."""
        descriptor = ModelDescriptor(name, "fake", number, model_source_location="nowhere")
        self.messages.append((f"{name}/{number}".encode(), encode_descriptor(descriptor)))
        return self.point(number, previous, name)

    def point(self, live: int | None, previous: int | None = None, name: str = "m") -> int:
        self.messages.append((name.encode(), encode_pointer(ModelPointer(name, live, previous, live or 0))))
        return len(self.messages)

    def look(self) -> TopicState:
        self._fail()
        return TopicState(self.topic_id, len(self.messages))

    def end(self) -> int:
        self._fail()
        self.asked += 1
        return len(self.messages)

    def catch_up(self, catalog: ModelCatalog, position: int) -> None:
        self._fail()
        for offset in range(catalog.position, position):
            catalog.apply(offset, *self.messages[offset])

    def close(self) -> None:
        self.closed.set()

    def _fail(self) -> None:
        with self.changed:
            if self.errors:
                error = self.errors.pop(0)
                self.changed.notify_all()
                raise error


@dataclass
class Loader(ModelLoader):
    """Returns fake models; versions in `errors` fail; a load waits for its gate in `gates`."""

    errors: dict[int, list[Exception]] = field(default_factory=dict)
    gates: dict[int, threading.Event] = field(default_factory=dict)
    begun: dict[int, threading.Event] = field(default_factory=dict)
    models: list[LoadedModel] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(NoOpener(), lambda offset: b"", [X_SCHEMA.codec])

    def hold(self, number: int) -> None:
        self.gates[number], self.begun[number] = threading.Event(), threading.Event()

    def load(self, version: PublishedVersion) -> LoadedModel:
        number = version.descriptor.model_version
        if number in self.gates:
            self.begun[number].set()
            assert self.gates[number].wait(WAIT)
        if self.errors.get(number):
            raise self.errors[number].pop(0)
        self.models.append(fake_model(version))
        return self.models[-1]


class Clock:
    """A clock that stands still until a test advances it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Serving:
    topic: Topic
    loader: Loader
    registry: ModelRegistry
    follower: ModelFollower
    clock: Clock

    def label(self, data_type: str = "m") -> str | None:
        with OneLease(self.registry, data_type) as lease:
            return lease.model.version.label if lease.model else None

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Waits until a condition that the registry reports is true."""
        with self.registry._changed:
            assert self.registry._changed.wait_for(condition, WAIT)

    def wait_until_stopped(self) -> None:
        with self.follower._wake:
            assert self.follower._wake.wait_for(lambda: self.follower._stopped is not None, WAIT)


@pytest.fixture
def serving() -> Iterator[Serving]:
    topic, loader = Topic(), Loader()
    registry = ModelRegistry("worker", RegistrySettings(RetryPauses(first=0.01)))
    clock = Clock()
    settings = FollowerSettings(patience=60.0, pauses=RetryPauses(first=0.001))
    made = Serving(topic, loader, registry, ModelFollower(topic, registry, loader, settings, clock), clock)
    yield made
    for gate in loader.gates.values():
        gate.set()
    made.follower.close()


def test_a_worker_that_starts_catches_up_with_the_topics_end(serving: Serving) -> None:
    serving.topic.publish(1)
    serving.topic.publish(2, 1)
    serving.follower.start()
    serving.follower.wait_current({})
    assert serving.label() == "m/2"


def test_nothing_waits_for_an_empty_topic(serving: Serving) -> None:
    serving.follower.start()
    serving.follower.wait_current({})
    assert serving.label() is None


def test_a_position_brings_the_model_that_was_published_below_it(serving: Serving) -> None:
    serving.follower.start()
    for number in (1, 2, 3):
        position = serving.topic.publish(number, number - 1)
        serving.follower.follow(at(position))
        serving.follower.wait_current(at(position))
        assert serving.label() == f"m/{number}"
    assert [scorer_of(model).closed.is_set() for model in serving.loader.models] == [True, True, False]


def test_an_older_position_changes_nothing(serving: Serving) -> None:
    end = serving.topic.publish(1)
    serving.follower.start()
    serving.follower.wait_current(at(end))
    serving.follower.follow(at(1))
    serving.follower.follow({})
    serving.follower.wait_current(at(1))
    assert serving.label() == "m/1"
    assert len(serving.loader.models) == 1


def test_the_old_model_serves_while_the_new_one_loads(serving: Serving) -> None:
    serving.topic.publish(1)
    serving.follower.start()
    serving.follower.wait_current({})
    serving.loader.hold(2)
    position = serving.topic.publish(2, 1)
    serving.follower.follow(at(position))
    assert serving.loader.begun[2].wait(WAIT)
    assert serving.label() == "m/1"
    serving.loader.gates[2].set()
    serving.follower.wait_current(at(position))
    assert serving.label() == "m/2"


def test_a_version_published_during_a_load_is_not_missed(serving: Serving) -> None:
    serving.loader.hold(1)
    serving.topic.publish(1)
    serving.follower.start()
    assert serving.loader.begun[1].wait(WAIT)
    position = serving.topic.publish(2, 1)
    serving.follower.follow(at(position))
    serving.loader.gates[1].set()
    serving.follower.wait_current(at(position))
    assert serving.label() == "m/2"


def test_a_failed_load_ends_the_wait_and_is_tried_again(serving: Serving) -> None:
    serving.loader.errors[2] = [ModelLoadError("broken")] * 3
    serving.topic.publish(1)
    position = serving.topic.publish(2, 1)
    serving.follower.start()
    serving.follower.wait_current(at(position))
    serving.wait_for(lambda: serving.label() == "m/2")
    failed = [event.error for event in serving.registry.drain_events() if event.kind == "failed"]
    assert failed == ["broken"] * 3


def test_an_unforeseen_error_of_a_load_is_a_failed_load(serving: Serving) -> None:
    serving.loader.errors[1] = [RuntimeError("never thought of")]
    serving.topic.publish(1)
    serving.follower.start()
    serving.wait_for(lambda: serving.label() == "m/1")
    failed = [event.error for event in serving.registry.drain_events() if event.kind == "failed"]
    assert failed == ["RuntimeError: never thought of"]


def test_a_retired_model_is_released(serving: Serving) -> None:
    serving.topic.publish(1)
    serving.follower.start()
    serving.follower.wait_current({})
    position = serving.topic.point(None, 1)
    serving.follower.follow(at(position))
    serving.follower.wait_current(at(position))
    assert serving.label() is None
    assert scorer_of(serving.loader.models[0]).closed.is_set()


def test_an_unreachable_broker_is_tried_again(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.serving.follower._RETRY_SECONDS", 0.01)
    serving.topic.errors = [KafkaUnreachableError("away")] * 3
    position = serving.topic.publish(1)
    serving.follower.start()
    serving.follower.wait_current(at(position))
    assert serving.label() == "m/1"


# --- Freshness.


def now() -> int:
    return time.time_ns() // 1_000_000


def test_a_batch_is_scored_with_what_was_published_before_its_records(serving: Serving) -> None:
    serving.topic.publish(1)
    serving.follower.start()
    serving.follower.wait_current({})
    time.sleep(0.6)  # what is known is now older than what a record of now needs
    serving.topic.publish(2, 1)  # no position tells of it
    serving.follower.wait_fresh(now())
    serving.wait_for(lambda: serving.label() == "m/2")


def test_a_record_of_the_past_or_of_the_future_waits_for_nothing_that_cannot_be(serving: Serving) -> None:
    serving.follower.start()
    serving.follower.wait_current({})
    serving.follower.wait_fresh(0)
    serving.follower.wait_fresh(now() + 1_000_000)


def test_a_follower_that_has_stopped_does_not_hold_records_back(serving: Serving) -> None:
    serving.topic.errors = [ModelsTopicError("two partitions")]
    serving.follower.start()
    serving.wait_until_stopped()
    serving.follower.wait_fresh(now())


def test_an_unreachable_broker_holds_records_back_until_it_answers(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.serving.follower._RETRY_SECONDS", 0.01)
    serving.follower.start()
    serving.follower.wait_current({})
    time.sleep(0.6)
    serving.topic.errors = [KafkaUnreachableError("away")] * 3
    serving.follower.wait_fresh(now())
    assert serving.topic.errors == []


def test_while_records_come_the_topics_end_is_asked_for_so_that_they_need_not_wait(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.serving.follower._FRESH_SECONDS", 0.02)
    serving.follower.start()
    serving.follower.wait_current({})
    serving.follower.wait_fresh(now())
    asked = serving.topic.asked
    deadline = time.monotonic() + WAIT
    while serving.topic.asked < asked + 5:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    serving.clock.now += 2.0  # no record for a while
    time.sleep(0.1)
    asked = serving.topic.asked
    time.sleep(0.2)
    assert serving.topic.asked <= asked + 1


# --- A follower that fails.


def test_a_topic_that_cannot_be_used_stops_the_follower_which_is_logged_reported_and_raised(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    serving.topic.errors = [ModelsTopicError("two partitions")]
    serving.follower.start()
    with pytest.raises(ModelsNotFollowedError, match="two partitions"):
        serving.follower.wait_current({})
    assert serving.topic.closed.is_set()
    (event,) = serving.registry.drain_events()
    assert (event.kind, event.error) == ("stopped", "two partitions")
    assert [(record.levelname, "two partitions" in record.message) for record in caplog.records] == [("ERROR", True)]


def test_the_next_attempt_of_the_bundle_starts_the_follower_again(serving: Serving) -> None:
    serving.topic.publish(1)
    serving.topic.errors = [ModelsTopicError("two partitions")]
    serving.follower.start()
    with pytest.raises(ModelsNotFollowedError):
        serving.follower.wait_current({})
    serving.follower.wait_current({})
    assert serving.label() == "m/1"


def test_the_loaded_model_serves_a_stopped_follower_until_its_patience_ends(serving: Serving) -> None:
    serving.topic.publish(1)
    serving.follower.start()
    serving.follower.wait_current({})
    serving.topic.errors = [ModelsTopicError("two partitions")]
    serving.follower.follow(at(3))
    serving.wait_until_stopped()
    serving.clock.now += 59.0
    serving.follower.follow(at(3))
    assert serving.label() == "m/1"
    serving.clock.now += 1.0
    with pytest.raises(ModelsNotFollowedError, match="two partitions"):
        serving.follower.follow(at(3))
    serving.follower.wait_current(at(3))  # the worker process was kept: it follows again


def test_an_unexpected_error_is_followed_by_other_attempts(serving: Serving) -> None:
    serving.topic.errors = [RuntimeError("never thought of")] * 5
    position = serving.topic.publish(1)
    serving.follower.start()
    serving.follower.wait_current(at(position))
    assert serving.label() == "m/1"


def test_six_unexpected_errors_in_a_row_stop_the_follower(serving: Serving) -> None:
    serving.topic.errors = [RuntimeError("never thought of")] * 6
    serving.follower.start()
    with pytest.raises(ModelsNotFollowedError, match="RuntimeError: never thought of"):
        serving.follower.wait_current({})


def test_waiting_ends_when_the_follower_is_closed(serving: Serving) -> None:
    serving.topic.publish(1)
    serving.loader.hold(1)
    serving.follower.start()
    assert serving.loader.begun[1].wait(WAIT)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(serving.follower.wait_current, at(1_000))
        closing = threading.Thread(target=serving.follower.close)
        closing.start()
        with pytest.raises(ModelsNotFollowedError, match="closing"):
            waiting.result(WAIT)
        serving.loader.gates[1].set()
        closing.join(WAIT)
    with pytest.raises(ModelsNotFollowedError, match="closing"):
        serving.follower.follow({})


# --- A models topic that was recreated.


def recreate(topic: Topic, topic_id: str) -> None:
    topic.messages, topic.topic_id = [], topic_id


def test_a_recreated_topic_is_read_from_its_beginning_although_its_positions_are_lower(serving: Serving) -> None:
    for number in range(1, 6):
        position = serving.topic.publish(number, number - 1)
    serving.follower.start()
    serving.follower.wait_current(at(position))
    recreate(serving.topic, "second")
    lower = serving.topic.publish(7)
    assert lower < position
    both = {**at(position), **at(lower, "second")}  # a runner may hand over all positions so far
    serving.follower.wait_current(both)
    assert serving.label() == "m/7"
    lower = serving.topic.publish(8, 7)
    serving.follower.wait_current({**both, **at(lower, "second")})
    assert serving.label() == "m/8"


def test_a_recreated_topic_that_is_longer_than_the_one_before_is_read_from_its_beginning(serving: Serving) -> None:
    position = serving.topic.publish(9)
    serving.follower.start()
    serving.follower.wait_current(at(position))
    recreate(serving.topic, "second")
    for name in ("n", "k"):
        position = serving.topic.publish(1, name=name)
    serving.follower.wait_current(at(position, "second"))
    assert [serving.label(name) for name in ("m", "n", "k")] == [None, "n/1", "k/1"]


def test_a_late_position_of_the_topic_before_changes_nothing(serving: Serving) -> None:
    serving.topic.topic_id = "second"
    position = serving.topic.publish(1)
    serving.follower.start()
    serving.follower.wait_current(at(position, "second"))
    serving.follower.wait_current(at(1_000, "first"))
    assert serving.label() == "m/1"
    assert len(serving.loader.models) == 1


def test_a_version_of_a_recreated_topic_does_not_inherit_the_failures_of_one_at_its_offset(serving: Serving) -> None:
    serving.loader.errors[1] = [ModelLoadError("broken")] * 1_000
    position = serving.topic.publish(1)
    serving.follower.start()
    serving.follower.wait_current(at(position))
    recreate(serving.topic, "second")
    serving.follower.wait_current(at(serving.topic.publish(2), "second"))
    assert serving.label() == "m/2"


@pytest.mark.parametrize("topic_id", ["first", ""])
def test_a_position_beyond_the_end_does_not_hide_later_versions(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, topic_id: str
) -> None:
    monkeypatch.setattr("models.serving.follower._RETRY_SECONDS", 0.0)
    serving.topic.topic_id = topic_id
    serving.topic.publish(1)
    serving.follower.start()
    restored = at(1_000, topic_id)
    serving.follower.wait_current(restored)
    assert serving.label() == "m/1"
    serving.topic.publish(2, 1)
    serving.wait_for(lambda: serving.label() == "m/2")


def test_a_shorter_topic_without_an_id_is_read_from_its_beginning(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.serving.follower._RETRY_SECONDS", 0.0)
    serving.topic.topic_id = ""
    serving.topic.publish(1)
    position = serving.topic.publish(2, 1)
    serving.follower.start()
    serving.follower.wait_current(at(position, ""))
    recreate(serving.topic, "")
    serving.topic.publish(7)
    serving.follower.wait_current(at(position + 1, ""))
    assert serving.label() == "m/7"


def test_a_missing_or_empty_topic_leaves_the_serving_models(serving: Serving) -> None:
    position = serving.topic.publish(1)
    serving.follower.start()
    serving.follower.wait_current(at(position))
    recreate(serving.topic, "")
    serving.follower.wait_current(at(position + 1))
    recreate(serving.topic, "second")
    serving.follower.wait_current(at(position + 2))
    assert serving.label() == "m/1"


def test_without_any_news_the_topic_is_looked_at_now_and_then(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.serving.follower._STATISTICS_SECONDS", 0.01)
    serving.follower.start()
    serving.follower.wait_current({})
    serving.topic.publish(1)
    serving.clock.now += 30.0
    serving.wait_for(lambda: serving.label() == "m/1")


# --- The models of others.


def test_models_of_other_data_types_are_not_loaded(serving: Serving) -> None:
    settings = FollowerSettings(scores=lambda data_type: data_type == "n")
    follower = ModelFollower(serving.topic, serving.registry, serving.loader, settings)
    serving.loader.errors[1] = [ModelLoadError("not our kind of model")]
    serving.topic.publish(1, name="m")
    position = serving.topic.publish(2, name="n")
    follower.start()
    try:
        follower.wait_current(at(position))
        assert (serving.label("m"), serving.label("n")) == (None, "n/2")
        assert {event.model_name for event in serving.registry.drain_events()} == {"n"}
    finally:
        follower.close()


def test_closing_waits_for_a_load_and_releases_all_models(serving: Serving) -> None:
    serving.loader.hold(1)
    serving.topic.publish(1)
    serving.follower.start()
    assert serving.loader.begun[1].wait(WAIT)
    closing = threading.Thread(target=serving.follower.close)
    closing.start()
    serving.loader.gates[1].set()
    closing.join(WAIT)
    assert not closing.is_alive()
    assert serving.topic.closed.is_set()
    assert [scorer_of(model).closed.is_set() for model in serving.loader.models] == [True]
    assert serving.label() is None


def test_statistics_are_reported_from_time_to_time(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.serving.follower._STATISTICS_SECONDS", 0.01)
    told = threading.Event()
    monkeypatch.setattr(serving.registry, "report_statistics", told.set)
    serving.clock.now += 1.0
    serving.follower.start()
    assert told.wait(WAIT)
