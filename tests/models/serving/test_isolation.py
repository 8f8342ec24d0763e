from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import BatchDeadlineError, FieldValueError, ModelUnreachableError, ScoringError
from models.serving.isolation import SAMPLES, Isolation, Outcome


@dataclass
class Model:
    """Returns the indices that it receives, or raises the error of the first bad one; each call takes `seconds`."""

    bad: dict[int, Exception] = field(default_factory=dict)
    seconds: float = 0.0
    now: float = 0.0
    calls: int = 0
    largest: int = 0

    def __call__(self, indices: Sequence[int]) -> list[int]:
        self.calls += 1
        self.largest = max(self.largest, len(indices))
        self.now += self.seconds
        for index in indices:
            if index in self.bad:
                raise self.bad[index]
        return list(indices)

    def score(self, count: int, seconds: float = 1e9, largest: int | None = None) -> list[Outcome[list[int]]]:
        outcomes = Isolation(self, seconds, lambda: self.now).score(count, largest)
        assert sorted(index for one in outcomes for index in one.indices) == list(range(count))
        assert all((one.answer is None) != (one.error is None) for one in outcomes)
        assert all(one.answer is None or one.answer == list(one.indices) for one in outcomes)
        return outcomes


def errors(outcomes: list[Outcome[list[int]]]) -> dict[int, Exception]:
    return {index: one.error for one in outcomes for index in one.indices if one.error is not None}


@given(st.integers(1, 200), st.sets(st.integers(0, 199)), st.booleans())
def test_each_bad_record_gets_its_own_error_and_no_other_does(count: int, bad: set[int], alike: bool) -> None:
    model = Model({index: ScoringError("bad" if alike else f"{index * 'x'}") for index in bad if index < count})
    found = errors(model.score(count))
    expected = {index for index in bad if index < count}
    if count <= 2 * SAMPLES or not alike or len(expected) <= count // 2:
        assert set(found) == expected
    assert expected <= set(found)


def test_a_good_batch_is_one_call() -> None:
    model = Model(seconds=3.0)
    (outcome,) = model.score(2000)
    assert (model.calls, outcome.seconds) == (1, 3.0)


def test_one_bad_record_costs_two_calls_a_halving() -> None:
    model = Model({77: ScoringError("bad")})
    model.score(2048)
    assert model.calls == 1 + 2 * 11


def test_a_model_that_cannot_be_reached_ends_the_batch_at_once() -> None:
    away = ModelUnreachableError("away")
    model = Model(dict.fromkeys(range(2000), away))
    assert errors(model.score(2000)) == dict.fromkeys(range(2000), away)
    assert model.calls == 1


def test_a_model_lost_during_a_batch_costs_one_more_call_and_keeps_the_scored_records() -> None:
    away, bad = ModelUnreachableError("away"), ScoringError("bad")
    model = Model({10: bad, 900: away})
    found = errors(model.score(1000))
    # The whole batch fails, then the first half; the second half reaches no server.
    assert model.calls == 3
    assert set(found.values()) == {away}
    model = Model({0: away, 999: bad})
    model.bad = {999: bad}
    assert set(errors(model.score(1000))) == {999}


def test_records_of_a_batch_that_always_fails_get_the_error_after_some_samples() -> None:
    model = Model({index: ScoringError(f"no such input ({index} rows)") for index in range(5000)})
    found = errors(model.score(5000))
    assert len(found) == 5000
    assert model.calls == 1 + 2 + SAMPLES


def test_values_that_do_not_fit_are_found_one_by_one() -> None:
    model = Model(dict.fromkeys(range(100), FieldValueError("no number")))
    assert len(model.score(100)) == 100


def test_errors_of_different_classes_are_not_alike() -> None:
    model = Model({index: (ScoringError if index < 50 else RuntimeError)("bad") for index in range(100)})
    found = errors(model.score(100))
    assert all(isinstance(found[index], ScoringError) for index in range(50))
    assert all(isinstance(found[index], RuntimeError) for index in range(50, 100))


def test_after_its_time_a_batch_makes_no_further_call() -> None:
    model = Model({0: ScoringError("bad")}, seconds=4.0)
    outcomes = model.score(2000, seconds=10.0)
    assert model.calls == 3  # at 0, 4 and 8 seconds
    found = errors(outcomes)
    assert set(found) == set(range(1000))  # the second half was scored
    assert all(isinstance(error, BatchDeadlineError) for error in found.values())
    assert str(found[0]) == "the batch could not be scored within 10 s; the last error was: bad"


@pytest.mark.parametrize("count", [0, 1])
def test_no_record_or_one_is_one_call(count: int) -> None:
    model = Model(dict.fromkeys(range(count), ScoringError("bad")))
    assert len(model.score(count)) == 1
    assert model.calls == 1


@given(st.integers(1, 100), st.integers(1, 30), st.sets(st.integers(0, 99), max_size=5))
def test_no_call_has_more_records_than_the_largest_batch(count: int, largest: int, bad: set[int]) -> None:
    model = Model({index: ScoringError(index * "x") for index in bad if index < count})
    found = errors(model.score(count, largest=largest))
    assert set(found) == {index for index in bad if index < count}
    assert model.largest <= largest


def test_the_time_of_a_batch_is_that_of_all_its_calls_together() -> None:
    model = Model(seconds=1.0)
    found = errors(model.score(100, seconds=4.5, largest=10))
    assert model.calls == 5
    assert set(found) == set(range(50, 100))
    assert {type(error) for error in found.values()} == {BatchDeadlineError}


def test_a_server_that_cannot_be_reached_is_not_called_for_the_rest_of_the_batch() -> None:
    model = Model({12: ModelUnreachableError("gone")})
    assert set(errors(model.score(100, largest=10))) == set(range(10, 100))
    assert model.calls == 2
