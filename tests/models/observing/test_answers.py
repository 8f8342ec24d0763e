"""What is measured of batches that are scored for real, with models without an engine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.errors import ModelUnreachableError
from models.model_topic.published import PublishedVersion
from models.observing.answered import AnsweredBatch
from models.observing.instruments import (
    BATCH_SIZE,
    CALL_SIZE,
    DEAD_LETTERS,
    END_TO_END,
    ERRORS,
    FOLLOWER_STOPS,
    LOADS,
    MODEL_SHARE,
    RECORDS,
    RESULTS,
    STAGE_DURATION,
    UPDATE_LAG,
    Instrument,
)
from models.observing.observation import Observation
from models.observing.observer import Labels
from models.observing.totals import Distribution, Totals
from models.records.batch import RecordBatch
from models.routing.plan import implicit_plan
from models.scorers.base import Scores
from models.serving.assembly import ScoringSettings, score_batch
from models.serving.registry import ModelRegistry
from models.tensors import Array
from tests.models.fakes import X_SCHEMA, FakeScorer, batch_of, fake_model, published

SETTINGS = ScoringSettings({"records": X_SCHEMA}, "results", "letters")
GOOD = X_SCHEMA.codec.encode({"x": 1.0, "dataType": "m"})
OTHER = X_SCHEMA.codec.encode({"x": 1.0, "dataType": "unknown"})


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[AnsweredBatch] = []

    def answered(self, answered: AnsweredBatch) -> None:
        self.heard.append(answered)

    def close(self) -> None:
        """Nothing to end."""


class Unreachable(FakeScorer):
    """A model on a server that is away."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.digest = None

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        raise ModelUnreachableError("nobody answers")


class Unwritable(FakeScorer):
    """Returns a text that no result can hold for the second row."""

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        return Scores({"text": np.array(["text", "\ud800", "text"], object)})


class Observed:
    """A registry whose measurements are kept."""

    def __init__(self) -> None:
        self.listener = Listener()
        self.observation = Observation(Totals(), (), [self.listener])
        self.registry = ModelRegistry("worker", observer=self.observation)

    def serve(self, version: PublishedVersion, scorer: Any = None) -> None:
        self.registry.update({"m": implicit_plan((version,))})
        self.registry.loaded(version, fake_model(version, scorer))

    def score(self, batch: RecordBatch) -> None:
        score_batch(batch, self.registry, SETTINGS, observer=self.observation)

    def numbers(self, instrument: Instrument) -> dict[Labels, float]:
        found = self.observation.totals.snapshot().numbers
        return {labels: value for (one, labels), value in found.items() if one is instrument}

    def distributions(self, instrument: Instrument) -> dict[Labels, Distribution]:
        found = self.observation.totals.snapshot().distributions
        return {labels: value for (one, labels), value in found.items() if one is instrument}


@pytest.fixture
def observed() -> Observed:
    return Observed()


def test_a_batch_counts_by_model_and_by_outcome(observed: Observed) -> None:
    observed.serve(published(3))
    observed.score(batch_of([GOOD, b"garbage", GOOD, OTHER]))
    assert observed.numbers(RECORDS) == {("records",): 4}
    assert observed.numbers(RESULTS) == {("m", "m", "3", "", "serve"): 2}
    assert observed.numbers(ERRORS) == {("unknown", "", "", "", "serve", "no_model"): 1}
    assert observed.numbers(DEAD_LETTERS) == {("records", "decode"): 1}
    assert observed.distributions(BATCH_SIZE)["records",].total == 4
    assert observed.distributions(CALL_SIZE)["m", "3"].total == 2


def test_a_record_with_a_dead_letter_has_no_result_that_counts(observed: Observed) -> None:
    observed.serve(published(3), Unwritable(3))
    observed.score(batch_of([GOOD, GOOD, GOOD]))
    assert observed.numbers(RESULTS) == {("m", "m", "3", "", "serve"): 2}
    assert observed.numbers(DEAD_LETTERS) == {("records", "encode"): 1}


def test_each_stage_of_a_batch_is_timed(observed: Observed) -> None:
    observed.serve(published(3))
    now = time.time_ns()
    batch = replace(batch_of([GOOD] * 3), taken=now - 2_000_000_000)
    observed.score(replace(batch, timestamps=batch.timestamps + (now // 1_000_000 - 20_000)))
    stages = observed.distributions(STAGE_DURATION)
    assert set(stages) == {("queue", "", ""), ("decode", "", ""), ("encode", "", ""), ("score", "m", "3")}
    assert stages["queue", "", ""].total == pytest.approx(2, abs=1)
    assert all(one.count == 1 and 0 <= one.total < 5 for one in stages.values())
    whole = observed.distributions(END_TO_END)["m", "3"]
    assert whole.count == 3, "one for each record"
    assert whole.total / 3 == pytest.approx(19, abs=2), "since its timestamp"


def test_a_model_on_a_server_is_timed_by_itself_and_its_errors_have_their_kind(observed: Observed) -> None:
    version = published(3)
    model = fake_model(version, Unreachable(3))
    model._meter = observed.observation
    observed.registry.update({"m": implicit_plan((version,))})
    observed.registry.loaded(version, model)
    observed.score(batch_of([GOOD] * 2))
    assert observed.numbers(ERRORS) == {("m", "m", "", "", "serve", "unreachable"): 2}
    assert observed.distributions(STAGE_DURATION)["remote_call", "m", "3"].count == 1


def test_loads_and_shares_follow_the_models_that_serve(observed: Observed) -> None:
    first, second = published(1), published(2)
    observed.serve(first)
    assert observed.numbers(MODEL_SHARE) == {("m", "m", "1", "", "serve"): 1.0}
    observed.serve(second)
    assert observed.numbers(MODEL_SHARE) == {("m", "m", "2", "", "serve"): 1.0}
    assert observed.numbers(LOADS) == {("m", "1", "loaded"): 1, ("m", "2", "loaded"): 1}
    assert observed.distributions(UPDATE_LAG) == {}, "both were published before this worker began"


def test_the_lag_of_an_update_is_that_since_its_publication(observed: Observed) -> None:
    version = published(1)
    observed.registry._began -= 100
    moment = round(1000 * (time.time() - 7))
    observed.serve(replace(version, descriptor=replace(version.descriptor, published_at=moment)))
    assert observed.distributions(UPDATE_LAG)["m", "1"].total == pytest.approx(7, abs=2)


def test_a_worker_that_stops_following_the_models_topic_is_counted(observed: Observed) -> None:
    observed.registry.report_stopped("two partitions")
    assert observed.numbers(FOLLOWER_STOPS) == {(): 1}


def test_listeners_get_the_batch_with_its_answers_and_an_empty_batch_is_nobodys_news(observed: Observed) -> None:
    observed.serve(published(3))
    observed.score(batch_of([]))
    assert observed.listener.heard == []
    batch = batch_of([GOOD, b"garbage"])
    observed.score(batch)
    (heard,) = observed.listener.heard
    assert heard.batch is batch
    assert heard.live
    assert [len(part.rows) for part in heard.scored] == [1]
    assert heard.times.decode <= heard.times.score <= heard.times.encode <= heard.times.end
