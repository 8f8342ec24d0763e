"""The sample of answers: what is chosen, what is sketched of it, and how labels find their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models.columns.labels import Label
from models.columns.mapping import plan_inputs
from models.columns.outputs import RecordOutputs
from models.columns.scored import ModelCall, ModelIdentity, ScoredRecords
from models.observing.answered import AnsweredBatch, StageTimes
from models.observing.drift.awaited_answers import AwaitedAnswers
from models.observing.drift.profile import FieldKey, Profile
from models.observing.drift.sampled_answers import AnswerSample, grouped_values
from models.observing.sampling import smallest, uniform
from tests.models.fakes import X_SCHEMA, X_SIGNATURE, batch_of

MODEL = ModelIdentity("m", 3, "fake", "nowhere", None, 7)
MAPPING = plan_inputs(X_SIGNATURE, {}, X_SCHEMA.codec)


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def answered(values: Sequence[float], outputs: bool = True, model: ModelIdentity | None = MODEL) -> AnsweredBatch:
    """A batch in which each record is answered with ten times its value."""
    batch = batch_of([X_SCHEMA.codec.encode({"x": value, "dataType": "m"}) for value in values])
    decoded = X_SCHEMA.codec.decode(batch.values)
    call = ModelCall(model, 0, 0, len(values), None if outputs else "failed")
    found = RecordOutputs({"y": np.array(values) * 10}, None) if outputs else None
    part = ScoredRecords(np.arange(len(values)), call, found, "m", MAPPING)
    return AnsweredBatch(batch, decoded, [part], {}, StageTimes(0, 0, 0, 5_000_000))


def test_at_most_so_many_records_of_a_version_are_taken_in_a_second() -> None:
    clock = Clock()
    sample = AnswerSample(100, clock)
    for _ in range(3):
        sample.take(answered(np.arange(60.0).tolist()))
    sample.take(answered([1.0], model=replace(MODEL, version=4)))
    assert [(one.version, len(one.places)) for one in sample.drain()] == [(("m", 3), 60), (("m", 3), 40), (("m", 4), 1)]
    assert sample.drain() == []
    clock.now = 1.0
    sample.take(answered(np.arange(60.0).tolist()))
    assert [len(one.places) for one in sample.drain()] == [60]


def test_nothing_is_taken_while_too_much_waits() -> None:
    sample = AnswerSample(10_000, Clock())
    one = answered([1.0])
    for _ in range(1_200):
        sample.take(one)
    assert len(sample.drain()) == 1_000
    sample.take(answered([1.0], model=None))
    assert sample.drain() == [], "no model was called"


def test_coordinates_choose_the_records() -> None:
    offsets = np.arange(10_000)
    hashes = uniform("t", 0, offsets)
    chosen = smallest(hashes, 1_000)
    assert np.array_equal(uniform("t", 0, offsets[5_000:]), hashes[5_000:])
    assert len(chosen) == len(set(chosen.tolist())) == 1_000 and (np.diff(chosen) > 0).all()
    assert 4_500 < chosen.mean() < 5_500, "evenly"
    others = smallest(uniform("t", 1, offsets), 1_000)
    assert len(np.intersect1d(chosen, others)) < 200
    assert smallest(hashes[:5], 10).tolist() == [0, 1, 2, 3, 4] and smallest(hashes, 0).tolist() == []


def test_features_are_sketched_of_failed_calls_too_and_outputs_of_the_others() -> None:
    sample = AnswerSample(100, Clock())
    sample.take(answered([1.0, 2.0]))
    sample.take(answered([3.0], outputs=False))
    profile = Profile()
    for records, values in grouped_values(sample.drain()):
        profile.add(records, values)
    assert profile.records == 3
    counts = {key: sketch.count for key, sketch in profile.fields.items()}
    assert counts == {FieldKey("feature", "x"): 3, FieldKey("output", "y"): 2}


def test_a_label_finds_its_answer_once() -> None:
    sample, awaited = AnswerSample(100, Clock()), AwaitedAnswers()
    sample.take(answered([1.0, 2.0]))
    (one,) = sample.drain()
    first, second = one.coordinates()
    awaited.remember(one)
    assert awaited.compare(first, Label("ten")) is None, "it cannot be compared"
    assert awaited.compare(first, Label(10)) == (("m", 3), True)
    assert awaited.compare(first, Label(10)) is None
    assert awaited.compare(second, Label(10.0)) == (("m", 3), False)
    assert awaited.compare(b"other-0-1", Label(10)) is None
