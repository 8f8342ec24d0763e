from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from models.errors import ScoringError
from models.serving.graphs.races import Arrival, Entrant, Racecourse
from models.tensors import Array
from tests.models.serving.graphs.graph_serving import Function, GraphServing, error, record, steps, values

RACE = """
steps:
  - name: r
    race: [{model: a, version: 1}, {model: b, version: 1}, {model: c, version: 1}]
    deadline: %s
    %s
output: r
"""
# No test waits for it: it is longer than every test may take.
LONG = 250


def race(deadline: float = LONG, more: str = "", **functions: Function) -> GraphServing:
    return GraphServing(RACE % (deadline, more), **functions)


def answering(value: Any, after: threading.Event | None = None) -> Function:
    """A model that returns a value once an event has happened."""

    def function(x: Any) -> Mapping[str, Array]:
        if after is not None and not after.wait(LONG):
            raise ScoringError("it waited too long")
        return {"out": np.full(len(x), value)}

    return function


def failing_above(limit: float, value: float) -> Function:
    def function(x: Any) -> Mapping[str, Array]:
        if (x > limit).any():
            raise ScoringError(f"x is above {limit:g}")
        return {"out": np.full(len(x), value)}

    return function


def failing_below(limit: float, value: float) -> Function:
    return lambda x: failing_above(-limit, value)(-x)


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """An event that happens only at the end of the test."""
    made = threading.Event()
    yield made
    made.set()


def test_the_first_answer_wins_and_the_result_names_its_model(never: threading.Event) -> None:
    serving = race(a=answering(1.0, never), b=answering(2.0), c=answering(3.0, never))
    results = serving.score([record(1), record(2)])
    assert [values(one, "out") for one in results] == [[2.0]] * 2
    assert steps(results[0]) == [("r", "b", 1, None)]


def test_each_record_gets_an_answer_of_a_model_that_can_answer_it() -> None:
    serving = race(a=failing_above(5, 1.0), b=failing_below(5, 2.0), c=failing_above(-1, 3.0))
    results = serving.score([record(1), record(9)])
    assert [values(one, "out") for one in results] == [[1.0], [2.0]]
    assert [steps(one) for one in results] == [[("r", "a", 1, None)], [("r", "b", 1, None)]]


def test_without_an_answer_in_time_the_default_answers(never: threading.Event) -> None:
    slow = answering(1.0, never)
    serving = race(0.05, "default: {risk: 0.5, label: [maybe, ü], sure: false}", a=slow, b=slow, c=slow)
    (result,) = serving.score([record(1)])
    assert error(result) is None
    assert {name: (one["shape"], one["values"]) for name, one in result["outputs"].items()} == {
        "risk": ([], [0.5]),
        "label": ([2], [b"maybe", "ü".encode()]),
        "sure": ([], [False]),
    }
    assert steps(result) == [("r", None, None, None)]


def test_without_a_default_the_record_gets_an_error_that_says_why(never: threading.Event) -> None:
    serving = race(0.05, a=answering(1.0, never), b=failing_above(0, 1.0), c=answering(1.0, never))
    (result,) = serving.score([record(1)])
    assert error(result) == "step 'r': no model answered within 0.05 s; x is above 0"


def test_the_answers_in_time_vote(never: threading.Event) -> None:
    serving = race(a=answering(1), b=answering(2), c=answering(2), more="consensus: true")
    (result,) = serving.score([record(1)])
    assert values(result, "out") == [2]
    assert steps(result) == [("r", "a", 1, None), ("r", "b", 1, None), ("r", "c", 1, None)]
    late = race(0.2, a=answering(1), b=answering(2, never), c=answering(2, never), more="consensus: true")
    (result,) = late.score([record(1)])
    assert values(result, "out") == [1]
    assert steps(result) == [("r", "a", 1, None)]


def test_models_vote_on_those_records_that_they_can_answer() -> None:
    serving = race(
        a=failing_above(1, 7.0),
        b=failing_above(2, 8.0),
        c=failing_above(2, 8.0),
        more="consensus: true\n    default: {out: 0.0}",
    )
    results = serving.score([record(1), record(2), record(3)])
    assert [values(one, "out") for one in results] == [[8.0], [8.0], [0.0]]
    assert [len(steps(one)) for one in results] == [3, 2, 1]


def test_a_late_model_is_held_open_until_it_has_answered() -> None:
    release = threading.Event()
    serving = race(a=answering(1.0, release), b=answering(2.0), c=answering(3.0))
    scorer = serving.scorers["a"]
    serving.score([record(1)])
    serving.registry.close()
    assert not scorer.closed.is_set()
    release.set()
    assert scorer.closed.wait(30)


@pytest.mark.slow
def test_with_a_stalled_model_99_9_percent_are_answered_within_the_deadline(never: threading.Event) -> None:
    deadline = 2.0
    serving = race(deadline, a=answering(1.0, never), b=answering(2.0), c=answering(3.0, never))
    seconds = []
    for _ in range(1000):
        began = time.monotonic()
        (result,) = serving.score([record(1)])
        seconds.append(time.monotonic() - began)
        assert values(result, "out") == [2.0]
    assert sum(one <= deadline for one in seconds) >= 0.999 * len(seconds)
    assert threading.active_count() < 50


# --- The racecourse itself.


def entrant(key: str, call: Callable[[], str], held: Counter[str]) -> Entrant[str]:
    return Entrant(key, call, lambda: held.update([key]), lambda: held.subtract([key]))


def over(arrived: Sequence[Arrival[str]]) -> bool:
    return len(arrived) > 0


def test_a_model_with_too_many_late_calls_is_not_called_until_one_ends(never: threading.Event) -> None:
    course, held = Racecourse(late_calls=2), Counter[str]()

    def stalled() -> str:
        never.wait(LONG)
        return "late"

    entrants = [entrant("slow", stalled, held), entrant("fast", lambda: "fast", held)]
    for _ in range(5):
        assert course.race(entrants, LONG, over) == [Arrival(1, "fast")]
    assert held["slow"] == 2
    assert course.race(entrants[:1], LONG, over) == []
    never.set()
    ends = time.monotonic() + 30
    while held["slow"] and time.monotonic() < ends:
        time.sleep(0.01)
    assert course.race(entrants[:1], LONG, over) == [Arrival(0, "late")]


def test_after_the_deadline_nothing_counts(never: threading.Event) -> None:
    course, held = Racecourse(), Counter[str]()
    began = time.monotonic()
    assert course.race([entrant("slow", lambda: str(never.wait(LONG)), held)], 0.05, over) == []
    assert time.monotonic() - began < LONG / 2
