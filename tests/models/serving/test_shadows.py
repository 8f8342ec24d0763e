from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest

from models.columns.labels import Label
from models.model_topic.guardrails import Guardrails
from models.model_topic.published import PublishedVersion
from models.records.outgoing import OutgoingMessage
from models.results.decoder import ResultDecoder
from models.routing.plan import PlannedArm, PlannedGeneration, PlannedSegment
from models.scorers.base import Scores
from models.serving.assembly import ScoredBatch, ScoringSettings, score_batch
from models.serving.registry import ModelRegistry
from models.serving.shadows import ShadowScorer
from models.tensors import Array
from tests.models.fakes import X_SCHEMA, FakeScorer, batch_of, fake_model, published, scorer_of

WAIT = 20.0
SETTINGS = ScoringSettings({"records": X_SCHEMA}, "results", "letters", shadow_topic="shadows")
DECODER = ResultDecoder(X_SCHEMA.codec.embedding)


class HangingScorer(FakeScorer):
    """Returns only when it is released."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.asked, self.let_go = threading.Event(), threading.Event()

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        self.asked.set()
        assert self.let_go.wait(WAIT)
        return super().score(inputs)


class CountingScorer(FakeScorer):
    """Records the sizes of its calls."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.sizes: list[int] = []

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        self.sizes.append(len(inputs["x"]))
        return super().score(inputs)


class FailingScorer(FakeScorer):
    """Raises an unexpected error."""

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        raise KeyError("unforeseen")


class Process:
    """A registry with a live model, shadows, and the events that they have sent."""

    def __init__(self, *shadows: FakeScorer, settings: ScoringSettings = SETTINGS, limit: int = 20_000) -> None:
        self.registry = ModelRegistry("worker")
        self.sent: list[OutgoingMessage] = []
        self.changed = threading.Condition()
        self.settings = settings
        self.shadows = ShadowScorer(self.registry, settings, self.send, limit)
        live = published(1)
        arms = [PlannedArm((live,), "live")]
        versions: list[tuple[PublishedVersion, FakeScorer]] = [(live, FakeScorer(1))]
        for scorer in shadows:
            version = published(scorer.number)
            versions.append((version, scorer))
            arms.append(PlannedArm((version,), f"shadow-{scorer.number}", "shadow"))
        self.registry.update({"m": (PlannedGeneration((PlannedSegment(tuple(arms)),), offset=7),)})
        self.models = [fake_model(version, scorer) for version, scorer in versions]
        for model in self.models:
            self.registry.loaded(model.version, model)

    def send(self, message: OutgoingMessage) -> None:
        with self.changed:
            self.sent.append(message)
            self.changed.notify_all()

    def score(self, *xs: float) -> ScoredBatch:
        values = [X_SCHEMA.codec.encode({"x": x, "dataType": "m"}) for x in xs]
        return score_batch(batch_of(values), self.registry, self.settings, self.shadows)

    def wait_for(self, count: int) -> list[dict[str, object]]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.sent) >= count, WAIT)
            assert {message.topic for message in self.sent} == {"shadows"}
            return [DECODER.decode(message.value or b"") for message in self.sent]

    def close(self) -> None:
        self.shadows.close()
        self.registry.close()


Make = Callable[..., Process]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Process] = []

    def process(*shadows: FakeScorer, **settings: object) -> Process:
        made.append(Process(*shadows, **settings))  # type: ignore[arg-type]
        return made[-1]

    yield process
    for one in made:
        one.close()


def versions(scored: ScoredBatch) -> list[object]:
    results = [DECODER.decode(one.value or b"") for one in scored.outgoing if one.topic == "results"]
    assert all(result["modelResultMetadata"]["arm"] == "live" for result in results)
    return [result["modelResultMetadata"]["modelVersion"] for result in results]


def test_a_shadow_answers_to_its_own_topic_and_names_its_arm(make: Make) -> None:
    process = make(FakeScorer(2), FakeScorer(3))
    scored = process.score(1.0, 2.0)
    assert versions(scored) == [1, 1]
    assert {one.topic for one in scored.outgoing} == {"results"}
    found = process.wait_for(4)
    told = sorted(
        (one["modelResultMetadata"]["arm"], one["modelResultMetadata"]["role"], one["modelResultMetadata"]["offset"])  # type: ignore[index]
        for one in found
    )
    assert told == [
        ("shadow-2", "shadow", 0),
        ("shadow-2", "shadow", 2),
        ("shadow-3", "shadow", 0),
        ("shadow-3", "shadow", 2),
    ]
    assert {one["modelResultMetadata"]["routeOffset"] for one in found} == {7}  # type: ignore[index]


def test_a_hanging_shadow_delays_neither_answers_nor_another_shadow(make: Make) -> None:
    hanging = HangingScorer(2)
    process = make(hanging, FakeScorer(3))
    start = time.monotonic()
    for _ in range(20):
        assert versions(process.score(1.0)) == [1]
    assert time.monotonic() - start < WAIT / 2
    assert hanging.asked.wait(WAIT)
    assert len(process.wait_for(20)) == 20
    hanging.let_go.set()
    process.wait_for(40)


def test_a_shadow_that_cannot_keep_up_skips_records(make: Make) -> None:
    hanging = HangingScorer(2)
    process = make(hanging, limit=3)
    process.score(1.0, 2.0)
    assert hanging.asked.wait(WAIT)
    process.score(3.0)
    process.score(4.0)
    assert process.shadows.skipped() == 1
    hanging.let_go.set()
    assert len(process.wait_for(3)) == 3


def test_a_shadow_scores_the_records_of_many_small_batches_in_few_calls(make: Make) -> None:
    counting = CountingScorer(2)
    process = make(counting)
    for number in range(50):
        process.score(float(number), number + 0.5)
    results = process.wait_for(100)
    assert sum(counting.sizes) == 100
    assert len(counting.sizes) < 25
    xs = [one["inputRecord"]["x"] for one in results]  # type: ignore[index]
    assert xs == [number / 2 for number in range(100)]


def test_an_error_of_a_shadow_is_its_own(make: Make) -> None:
    process = make(FailingScorer(2), FakeScorer(3))
    assert versions(process.score(1.0)) == [1]
    found = {one["modelResultMetadata"]["arm"]: one["modelResultMetadata"]["errors"] for one in process.wait_for(2)}  # type: ignore[index]
    assert found["shadow-3"] is None
    assert "unforeseen" in str(found["shadow-2"])


def test_malformed_records_get_no_second_dead_letter(make: Make) -> None:
    process = make(FakeScorer(2))
    good = X_SCHEMA.codec.encode({"x": 1.0, "dataType": "m"})
    scored = score_batch(batch_of([b"\xff", good]), process.registry, SETTINGS, process.shadows)
    assert sorted(message.topic for message in scored.outgoing) == ["letters", "results"]
    process.wait_for(1)
    process.shadows.close()
    assert len(process.sent) == 1


def test_without_a_shadow_topic_the_statistics_of_shadows_are_kept(make: Make) -> None:
    process = make(FakeScorer(2), settings=replace(SETTINGS, shadow_topic=None))
    process.score(1.0, 2.0)
    process.registry.drain_events()
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        process.registry.report_statistics()
        usage = {one.model_version: one.statistics.usage for one in process.registry.drain_events() if one.statistics}
        if usage.get(2) == 2:
            break
        time.sleep(0.01)
    assert usage[2] == 2
    assert process.sent == []


def test_a_full_producer_skips_shadow_results(make: Make) -> None:
    process = make(FakeScorer(2))

    def full(message: OutgoingMessage) -> None:
        raise BufferError

    process.shadows._send = full
    process.score(1.0, 2.0, 3.0)
    deadline = time.monotonic() + WAIT
    while process.shadows.skipped() < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.shadows.skipped() == 3


def test_the_model_of_a_shadow_stays_open_until_it_has_scored_and_closing_does_not_wait_for_a_hanging_one(
    make: Make,
) -> None:
    hanging = HangingScorer(2)
    process = make(hanging)
    process.score(1.0)
    assert hanging.asked.wait(WAIT)
    start = time.monotonic()
    process.close()
    assert time.monotonic() - start < WAIT / 2
    assert scorer_of(process.models[0]).closed.is_set()
    assert not hanging.closed.is_set()
    hanging.let_go.set()
    assert hanging.closed.wait(WAIT)


def test_closing_gives_back_the_models_of_work_that_waits(make: Make) -> None:
    hanging = HangingScorer(2)
    process = make(hanging)
    process.score(1.0)
    assert hanging.asked.wait(WAIT)
    for _ in range(2):
        process.score(1.0)
    process.close()
    hanging.let_go.set()
    assert hanging.closed.wait(WAIT)
    assert len(process.sent) <= 1


def test_a_shadow_scores_only_its_share(make: Make) -> None:
    process = make()
    half = PlannedArm((published(2),), "shadow-2", "shadow", 0.5)
    live = PlannedArm((published(1),), "live")
    process.registry.update({"m": (PlannedGeneration((PlannedSegment((live, half)),), offset=7),)})
    process.registry.loaded(published(2), fake_model(published(2)))
    process.score(*np.arange(200.0).tolist())
    found = process.wait_for(60)
    assert 60 <= len(found) <= 140


@pytest.mark.parametrize(("accuracy", "outcome", "labels"), [(0.9, "counted", 1), (None, "unknown", 0)])
def test_the_answers_of_a_candidate_wait_for_labels_if_its_guardrails_need_them(
    make: Make, accuracy: float | None, outcome: str, labels: int
) -> None:
    process = make()
    candidate = PlannedArm((published(2),), "canary", "candidate", guardrails=Guardrails(min_accuracy=accuracy))
    process.registry.update({"m": (PlannedGeneration((PlannedSegment((candidate,)),), offset=7),)})
    process.registry.loaded(published(2), fake_model(published(2)))
    process.score(1.0, 2.0)
    assert process.shadows.labels.add(b"records-3-2", Label(2)) == outcome
    (seen,) = process.shadows.tallies.changes()
    assert (seen.route, seen.arm, seen.records, seen.labels, seen.correct) == (7, "canary", 2, labels, labels)
