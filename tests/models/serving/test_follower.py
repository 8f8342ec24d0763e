from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from models.errors import KafkaUnreachableError, ModelLoadError, ModelsTopicError
from models.model_topic.catalog import ModelCatalog, PublishedVersion
from models.model_topic.descriptor import ModelDescriptor, ModelPointer, encode_descriptor, encode_pointer
from models.serving.follower import ModelFollower
from models.serving.loading import LoadedModel, ModelLoader
from models.serving.registry import ModelRegistry, RetryPauses
from tests.models.fakes import X_SCHEMA, NoOpener, fake_model, scorer_of

WAIT = 20.0


class Topic:
    """A models topic in memory; `fail` is raised, once, by the next who asks."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes | None]] = []
        self.errors: list[Exception] = []
        self.closed = threading.Event()
        self.changed = threading.Condition()

    def publish(self, number: int, previous: int | None = None, name: str = "m") -> int:
        """Publishes a version and makes it live; gives the topic's end."""
        descriptor = ModelDescriptor(name, "fake", number, model_source_location="nowhere")
        self.messages.append((f"{name}/{number}".encode(), encode_descriptor(descriptor)))
        return self.point(number, previous, name)

    def point(self, live: int | None, previous: int | None = None, name: str = "m") -> int:
        self.messages.append((name.encode(), encode_pointer(ModelPointer(name, live, previous, live or 0))))
        return len(self.messages)

    def end(self) -> int:
        self._fail()
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
    """Gives fake models; versions in `errors` fail; a load waits for its gate in `gates`."""

    errors: dict[int, list[Exception]] = field(default_factory=dict)
    gates: dict[int, threading.Event] = field(default_factory=dict)
    begun: dict[int, threading.Event] = field(default_factory=dict)
    models: list[LoadedModel] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(NoOpener(), lambda offset: b"", X_SCHEMA)

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


@dataclass
class Serving:
    topic: Topic
    loader: Loader
    registry: ModelRegistry
    follower: ModelFollower

    def label(self, data_type: str = "m") -> str | None:
        with self.registry.lease(data_type) as lease:
            return lease.model.version.label if lease.model else None

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Waits until something that the registry tells has become true."""
        with self.registry._changed:
            assert self.registry._changed.wait_for(condition, WAIT)


@pytest.fixture
def serving() -> Iterator[Serving]:
    topic, loader = Topic(), Loader()
    registry = ModelRegistry("worker", RetryPauses(first=0.01))
    made = Serving(topic, loader, registry, ModelFollower(topic, registry, loader))
    yield made
    for gate in loader.gates.values():
        gate.set()
    made.follower.close()


def test_a_worker_that_starts_catches_up_with_the_topics_end(serving: Serving) -> None:
    serving.topic.publish(1)
    serving.topic.publish(2, 1)
    serving.follower.start()
    serving.follower.wait_current(0)
    assert serving.label() == "m/2"


def test_an_empty_topic_lets_nobody_wait(serving: Serving) -> None:
    serving.follower.start()
    serving.follower.wait_current(0)
    assert serving.label() is None


def test_a_position_brings_the_model_that_was_published_below_it(serving: Serving) -> None:
    serving.follower.start()
    for number in (1, 2, 3):
        position = serving.topic.publish(number, number - 1)
        serving.follower.follow(position)
        serving.follower.wait_current(position)
        assert serving.label() == f"m/{number}"
    assert [scorer_of(model).closed.is_set() for model in serving.loader.models] == [True, True, False]


def test_an_older_position_changes_nothing(serving: Serving) -> None:
    end = serving.topic.publish(1)
    serving.follower.start()
    serving.follower.wait_current(end)
    serving.follower.follow(1)
    serving.follower.follow(0)
    serving.follower.wait_current(1)
    assert serving.label() == "m/1"
    assert len(serving.loader.models) == 1


def test_the_old_model_serves_while_the_new_one_loads(serving: Serving) -> None:
    serving.topic.publish(1)
    serving.follower.start()
    serving.follower.wait_current(0)
    serving.loader.hold(2)
    position = serving.topic.publish(2, 1)
    serving.follower.follow(position)
    assert serving.loader.begun[2].wait(WAIT)
    assert serving.label() == "m/1"
    serving.loader.gates[2].set()
    serving.follower.wait_current(position)
    assert serving.label() == "m/2"


def test_what_was_published_while_a_model_loaded_is_not_missed(serving: Serving) -> None:
    serving.loader.hold(1)
    serving.topic.publish(1)
    serving.follower.start()
    assert serving.loader.begun[1].wait(WAIT)
    position = serving.topic.publish(2, 1)
    serving.follower.follow(position)
    serving.loader.gates[1].set()
    serving.follower.wait_current(position)
    assert serving.label() == "m/2"


def test_a_failed_load_ends_the_wait_and_is_tried_again(serving: Serving) -> None:
    serving.loader.errors[2] = [ModelLoadError("broken")] * 3
    serving.topic.publish(1)
    position = serving.topic.publish(2, 1)
    serving.follower.start()
    serving.follower.wait_current(position)
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
    serving.follower.wait_current(0)
    position = serving.topic.point(None, 1)
    serving.follower.follow(position)
    serving.follower.wait_current(position)
    assert serving.label() is None
    assert scorer_of(serving.loader.models[0]).closed.is_set()


def test_a_broker_that_is_away_is_asked_again(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.serving.follower._RETRY_SECONDS", 0.01)
    serving.topic.errors = [KafkaUnreachableError("away")] * 3
    position = serving.topic.publish(1)
    serving.follower.start()
    serving.follower.wait_current(position)
    assert serving.label() == "m/1"


def test_what_waiting_does_not_mend_is_told_to_whoever_waits(serving: Serving) -> None:
    serving.topic.errors = [ModelsTopicError("two partitions")]
    serving.follower.start()
    with pytest.raises(ModelsTopicError, match="two partitions"):
        serving.follower.wait_current(0)
    assert serving.topic.closed.wait(WAIT)


def test_who_waits_before_the_error_is_told_as_well(serving: Serving) -> None:
    serving.topic.publish(1)
    serving.follower.start()
    serving.follower.wait_current(0)
    serving.topic.errors = [ModelsTopicError("made anew")]
    serving.follower.follow(3)
    with pytest.raises(ModelsTopicError, match="made anew"):
        serving.follower.wait_current(3)
    assert serving.label() == "m/1"


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


def test_statistics_are_told_from_time_to_time(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.serving.follower._STATISTICS_SECONDS", 0.01)
    told = threading.Event()
    monkeypatch.setattr(serving.registry, "tell_statistics", told.set)
    serving.follower.start()
    assert told.wait(WAIT)
