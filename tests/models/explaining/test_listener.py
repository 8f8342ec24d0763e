"""Explanations beside the scoring: which records are explained, and what happens to the others."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from models.explaining.listener import ExplanationListener
from models.explaining.settings import ExplanationSettings
from models.loading.loader import LoadedModel
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.published import PublishedVersion
from models.observing.instruments import EXPLANATION_DURATION, EXPLANATIONS
from models.observing.observation import Observation
from models.observing.sampling import Sampling
from models.observing.totals import Totals
from models.records.outgoing import OutgoingMessage
from models.results.decoder import ResultDecoder
from models.routing.plan import PlannedArm, PlannedGeneration, PlannedSegment, implicit_plan
from models.serving.assembly import ScoredBatch, ScoringSettings, score_batch
from models.serving.registry import ModelRegistry
from models.serving.shadows import ShadowScorer
from tests.models.explaining.function_models import FunctionScorer, explainer, spec
from tests.models.fakes import X_SCHEMA, batch_of

WAIT = 60.0
SETTINGS = ScoringSettings({"records": X_SCHEMA}, "results", "letters")
X = spec("x", np.float32)
DECODER = ResultDecoder(X_SCHEMA.codec.embedding)
Function = Callable[..., Mapping[str, Any]]


def version_of(number: int) -> PublishedVersion:
    return PublishedVersion(ModelDescriptor("m", "fake", number, model_source_location="nowhere"), 10 * number, False)


def errors(scored: ScoredBatch) -> list[str | None]:
    """The errors in the results of a batch that has only results."""
    return [DECODER.decode(one.value or b"")["modelResultMetadata"]["errors"] for one in scored.outgoing]


class Worker:
    """A registry with models, and a listener whose explanations are kept."""

    def __init__(self, share: float = 1.0, limit: int = 32) -> None:
        self.totals = Totals()
        self.observation = Observation(self.totals)
        self.registry = ModelRegistry("worker", observer=self.observation)
        self.sent: list[OutgoingMessage] = []
        self.full = False
        self.changed = threading.Condition()
        self.listener = ExplanationListener(
            ExplanationSettings("explanations", share),
            self.registry,
            SETTINGS.codec,
            explainer(),
            self.send,
            self.totals,
            limit,
        )
        self.observation.listen(self.listener)
        self.listener.start()

    def send(self, message: OutgoingMessage) -> None:
        if self.full:
            raise BufferError
        with self.changed:
            self.sent.append(message)
            self.changed.notify_all()

    def serve(self, number: int, function: Function = lambda x: {"out": 2 * x}) -> None:
        version = version_of(number)
        self.registry.update({"m": implicit_plan((version,))})
        self.registry.loaded(version, LoadedModel(version, FunctionScorer(function, X)))

    def score(self, *xs: float, shadows: ShadowScorer | None = None, start: int = 0) -> ScoredBatch:
        values = [X_SCHEMA.codec.encode({"x": x, "dataType": "m"}) for x in xs]
        return score_batch(batch_of(values, start=start), self.registry, SETTINGS, shadows, self.observation)

    def explained(self, count: int) -> list[dict[str, Any]]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.sent) >= count, WAIT), self.outcomes()
            return [json.loads(message.value or b"") for message in self.sent]

    def outcomes(self) -> dict[str, float]:
        numbers = self.totals.snapshot().numbers
        return {labels[-1]: value for (instrument, labels), value in numbers.items() if instrument is EXPLANATIONS}

    def wait_for(self, outcome: str, count: int) -> None:
        done = threading.Event()
        for _ in range(int(WAIT / 0.02)):
            if self.outcomes().get(outcome, 0) >= count:
                return
            done.wait(0.02)
        raise AssertionError(f"not {count} {outcome}: {self.outcomes()}")

    def close(self) -> None:
        self.observation.leave(self.listener)
        self.listener.close()
        self.registry.close()


Work = Callable[..., Worker]


@pytest.fixture
def work() -> Iterator[Work]:
    made: list[Worker] = []

    def make(*arguments: Any, **settings: Any) -> Worker:
        made.append(Worker(*arguments, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_each_sampled_record_gets_one_explanation_of_the_answer_in_its_result(work: Work) -> None:
    worker = work()
    worker.serve(1)
    worker.score(1.0, 2.0, 4.0)
    found = worker.explained(3)
    assert [one["offset"] for one in found] == [0, 2, 4]
    assert [message.key for message in worker.sent] == [b"records-3-0", b"records-3-2", b"records-3-4"]
    assert {message.topic for message in worker.sent} == {"explanations"}
    last = found[2]
    assert (last["topic"], last["partition"], last["dataType"]) == ("records", 3, "m")
    assert (last["modelName"], last["modelVersion"], last["descriptorOffset"]) == ("m", 1, 10)
    assert (last["method"], last["output"], last["prediction"]) == ("permutation", "out", 8.0)
    # The first two records stand in for the third one.
    assert (last["background"], last["baseValue"]) == (2, 3.0)
    (only,) = last["attributions"]
    assert (only["name"], only["value"], only["attribution"]) == ("x", 4.0, 5.0)
    worker.wait_for("explained", 3)
    durations = worker.totals.snapshot().distributions
    assert durations[EXPLANATION_DURATION, ("m", "1")].count == 3


def test_the_same_records_are_sampled_everywhere(work: Work) -> None:
    worker = work(0.3)
    worker.serve(1)
    count = 40
    worker.score(*map(float, range(1, count + 1)))
    offsets = 2 * np.arange(count)
    expected = offsets[Sampling(0.3).chosen("records", 3, offsets)].tolist()
    assert 0 < len(expected) < count
    assert [one["offset"] for one in worker.explained(len(expected))] == expected


def test_records_that_were_not_sampled_stand_in_for_later_ones(work: Work) -> None:
    worker = work(0.3)
    worker.serve(1)
    worker.score(*[3.0] * 40)
    chosen = int(Sampling(0.3).chosen("records", 3, 2 * np.arange(40)).sum())
    worker.explained(chosen)
    start = 100
    worker.score(*[5.0] * 40, start=start)
    later = Sampling(0.3).chosen("records", 3, start + 2 * np.arange(40)).sum()
    first = worker.explained(chosen + int(later))[chosen]
    assert first["background"] == 16
    assert first["baseValue"] == 6.0


def test_a_model_that_is_gone_when_its_turn_comes_is_not_replaced_by_another_one(work: Work) -> None:
    worker = work()
    let_go = threading.Event()
    asked = threading.Event()

    def slow(x: Any) -> Mapping[str, Any]:
        if threading.current_thread().name == "explanations":
            asked.set()
            assert let_go.wait(WAIT)
        return {"out": x}

    worker.serve(1, slow)
    worker.score(1.0, 2.0)
    assert asked.wait(WAIT)
    worker.serve(2, lambda x: {"out": -x})
    let_go.set()
    worker.wait_for("skipped", 1)
    assert [one["modelVersion"] for one in worker.explained(1)] == [1]
    worker.wait_for("explained", 1)
    assert worker.outcomes() == {"explained": 1, "skipped": 1}


def test_records_beyond_the_queue_are_skipped_and_their_results_are_not_affected(work: Work) -> None:
    worker = work(limit=1)
    let_go = threading.Event()

    def slow(x: Any) -> Mapping[str, Any]:
        if threading.current_thread().name == "explanations":
            assert let_go.wait(WAIT)
        return {"out": x}

    worker.serve(1, slow)
    scored = [worker.score(1.0, 2.0) for _ in range(4)]
    assert [errors(one) for one in scored] == [[None, None]] * 4
    assert worker.outcomes()["skipped"] >= 4
    let_go.set()
    worker.wait_for("explained", 2)


def test_a_failure_is_counted_and_logged_once(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    worker = work()

    def failing(x: Any) -> Mapping[str, Any]:
        if threading.current_thread().name == "explanations":
            raise KeyError("unforeseen")
        return {"out": x}

    worker.serve(1, failing)
    worker.score(1.0, 2.0, 3.0)
    worker.wait_for("failed", 3)
    assert worker.sent == []
    assert caplog.text.count("answers of model m/1 are not explained") == 1
    worker.serve(2)
    worker.score(4.0)
    assert worker.explained(1)[0]["modelVersion"] == 2


def test_explanations_that_the_producer_cannot_take_are_skipped(work: Work) -> None:
    worker = work()
    worker.serve(1)
    worker.full = True
    worker.score(1.0)
    worker.wait_for("skipped", 1)


def test_answers_with_an_error_and_those_of_shadows_are_not_explained(work: Work) -> None:
    worker = work()
    live, shadow = version_of(1), version_of(2)
    arms = (PlannedArm((live,), "live"), PlannedArm((shadow,), "shadow", "shadow"))
    worker.registry.update({"m": (PlannedGeneration((PlannedSegment(arms),), offset=7),)})

    def failing(x: Any) -> Mapping[str, Any]:
        if (x < 0).any():
            raise ValueError("x is below 0")
        return {"out": x}

    answered = threading.Event()

    def watched(x: Any) -> Mapping[str, Any]:
        answered.set()
        return {"out": x}

    worker.registry.loaded(live, LoadedModel(live, FunctionScorer(failing, X)))
    worker.registry.loaded(shadow, LoadedModel(shadow, FunctionScorer(watched, X)))
    shadows = ShadowScorer(worker.registry, SETTINGS, worker.send)
    try:
        assert errors(worker.score(-1.0, 2.0, shadows=shadows)) == ["ValueError: x is below 0", None]
        assert answered.wait(WAIT)
    finally:
        shadows.close()
    assert [one["offset"] for one in worker.explained(1)] == [2]
    worker.wait_for("explained", 1)
    assert worker.outcomes() == {"explained": 1}


def test_closing_leaves_the_waiting_records_and_ends_the_thread(work: Work) -> None:
    worker = work()
    worker.serve(1)
    worker.score(*map(float, range(500)))
    worker.explained(1)
    worker.close()
    assert all(thread.name != "explanations" for thread in threading.enumerate())
    assert len(worker.sent) < 500
    worker.score(1.0)
