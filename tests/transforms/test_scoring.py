from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from models.kafka.client import KafkaSettings
from models.model_topic.position import encode_position
from models.records.outgoing import OutgoingBatch
from models.results.decoder import ResultDecoder
from models.routing.plan import implicit_plan
from models.serving.assembly import ScoringSettings
from models.serving.registry import ModelRegistry, RegistrySettings
from models.serving.shadows import ShadowScorer
from models.status.events import StatusEvent
from tests.models.fakes import X_SCHEMA, batch_of, fake_model, published
from transforms.model_updates import LOOK_SECONDS
from transforms.process_shared import ProcessShared
from transforms.scoring import ScoreBatch
from transforms.serving_process import ModelsSettings, Serving

SCORING = ScoringSettings({"records": X_SCHEMA}, "results", "letters")
VALUE = X_SCHEMA.codec.encode({"x": 2.0, "dataType": "m"})


def at(offset: int) -> bytes:
    return encode_position("id", offset)


@dataclass
class FakeFollower:
    """Records its calls; `on_wait` runs while a caller waits."""

    told: list[dict[str, int]] = field(default_factory=list)
    waited: list[dict[str, int]] = field(default_factory=list)
    fresh: list[int] = field(default_factory=list)
    on_wait: Callable[[], None] = lambda: None
    closed: bool = False

    def follow(self, positions: dict[str, int]) -> None:
        self.told.append(positions)

    def wait_current(self, positions: dict[str, int]) -> None:
        self.waited.append(positions)
        self.on_wait()

    def wait_fresh(self, timestamp: int) -> None:
        self.fresh.append(timestamp)

    def close(self) -> None:
        self.closed = True


@dataclass
class Process:
    """A worker process with a fake follower."""

    follower: FakeFollower
    registry: ModelRegistry
    make: Callable[..., ScoreBatch]

    def serve(self, number: int) -> None:
        version = published(number)
        self.registry.update({"m": implicit_plan((version,))})
        self.registry.loaded(version, fake_model(version))


@pytest.fixture
def process() -> Iterator[Process]:
    follower, registry = FakeFollower(), ModelRegistry("worker", RegistrySettings(deployment="group"))
    shadows = ShadowScorer(registry, SCORING, lambda message: None)
    serving = Serving(registry, follower, shadows)  # type: ignore[arg-type]
    shared: ProcessShared[Serving] = ProcessShared()
    shared.value(lambda: serving)
    made: list[ScoreBatch] = []

    def make(on_update: Any = "swap", status_topic: str | None = "status") -> ScoreBatch:
        models = ModelsSettings(KafkaSettings("127.0.0.1:1"), "models", (X_SCHEMA,))
        made.append(ScoreBatch(models, SCORING, on_update, status_topic))
        made[-1]._shared = shared
        made[-1].setup()
        return made[-1]

    yield Process(follower, registry, make)
    for do_fn in made:
        assert not follower.closed
        do_fn.teardown()
    assert follower.closed


def results(outgoing: OutgoingBatch) -> list[tuple[int | None, str | None]]:
    """The version and error of each result."""
    decoder = ResultDecoder(X_SCHEMA.codec.embedding)
    decoded = [decoder.decode(one.value or b"") for one in outgoing if one.topic == "results"]
    return [(one["modelResultMetadata"]["modelVersion"], one["modelResultMetadata"]["errors"]) for one in decoded]


def events(outgoing: OutgoingBatch) -> list[StatusEvent]:
    return [StatusEvent.from_json(one.value or b"") for one in outgoing if one.topic == "status"]


def test_the_follower_is_told_of_the_newest_position(process: Process) -> None:
    score = process.make()
    for positions in ([], [3], [9, 4, 7]):
        list(score.process(batch_of([]), [at(one) for one in positions]))
        time.sleep(LOOK_SECONDS)
    assert [one for one in process.follower.told if one] == [{"id": 3}, {"id": 9}]


def test_results_do_not_wait_for_the_side_input_once_the_first_models_are_loaded(process: Process) -> None:
    asked: list[int] = []

    def positions() -> Iterator[bytes]:
        asked.append(len(asked))
        yield at(3)

    score = process.make()
    list(score.process(batch_of([]), positions()))
    assert asked == [0]
    time.sleep(LOOK_SECONDS)
    results = score.process(batch_of([]), positions())
    next(results)
    assert asked == [0]
    assert list(results) == []
    assert asked == [0, 1]
    assert process.follower.told[-1] == {"id": 3}


def test_the_first_batch_of_the_process_waits_for_what_is_live_and_later_ones_do_not(process: Process) -> None:
    process.follower.on_wait = lambda: process.serve(1)
    first, second = process.make(), process.make()
    (scored,) = first.process(batch_of([VALUE]), [at(5)])
    assert results(scored) == [(1, None)]
    # Neither by the same DoFn nor by another of the process: a model may be loading just now.
    for score in (first, second):
        list(score.process(batch_of([VALUE]), [at(6)]))
    assert process.follower.waited == [{"id": 5}]


def test_with_wait_every_batch_waits_for_the_newest_model(process: Process) -> None:
    score = process.make(on_update="wait")
    numbers = iter((1, 2, 3))
    process.follower.on_wait = lambda: process.serve(next(numbers))
    scored = [next(score.process(batch_of([VALUE]), [at(position)])) for position in (10, 20, 30)]
    assert process.follower.waited == [{"id": 10}, {"id": 20}, {"id": 30}]
    assert [results(one) for one in scored] == [[(1, None)], [(2, None)], [(3, None)]]


def test_one_message_a_record_and_one_batch_a_batch(process: Process) -> None:
    process.serve(1)
    element = batch_of([VALUE, b"\xff", VALUE])
    score = process.make(status_topic=None)
    (scored,) = score.process(element, [])
    assert scored.span == element.span
    assert sorted(one.topic for one in scored) == ["letters", "results", "results"]
    assert results(scored) == [(1, None)] * 2


def test_events_go_with_the_next_batch_also_an_empty_one(process: Process) -> None:
    process.serve(1)
    score = process.make()
    (scored,) = score.process(batch_of([]), [])
    assert [(one.kind, one.model_version) for one in events(scored)] == [("serving", 1)]
    assert [one.key for one in scored] == [b"group/worker/m/1"]
    (again,) = score.process(batch_of([]), [])
    assert list(again) == []


def test_without_a_status_topic_events_go_nowhere(process: Process) -> None:
    process.serve(1)
    (scored,) = process.make(status_topic=None).process(replace(batch_of([]), gap="a gap"), [])
    assert list(scored) == []


def test_a_gap_is_told(process: Process) -> None:
    (scored,) = process.make().process(replace(batch_of([]), gap="the records 3 to 7 have expired"), [])
    (event,) = events(scored)
    assert (event.kind, event.error) == ("gap", "the records 3 to 7 have expired")
    assert (event.worker, event.deployment) == ("worker", "group")


def test_what_stopped_the_follower_stops_the_bundle(process: Process) -> None:
    def stop() -> None:
        raise RuntimeError("the models topic has two partitions")

    process.follower.on_wait = stop
    with pytest.raises(RuntimeError, match="two partitions"):
        list(process.make().process(batch_of([VALUE]), [at(1)]))


def test_a_follower_that_stopped_is_reported(process: Process) -> None:
    process.registry.report_stopped("two partitions")
    (scored,) = process.make().process(batch_of([]), [])
    assert [(one.kind, one.error, one.deployment) for one in events(scored)] == [("stopped", "two partitions", "group")]
