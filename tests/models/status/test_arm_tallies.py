from __future__ import annotations

import numpy as np
import pytest

from models.columns.outputs import RecordOutputs
from models.columns.scored import ModelCall, ScoredRecords
from models.model_topic.guardrails import Guardrails
from models.status.arm_tallies import ArmStatistics, ArmTallies

KEY = ("m", 7, "canary")
LIMITS = Guardrails(tolerance=0.01)


def answered(rows: list[int], values: list[float] | None, milliseconds: int = 1) -> ScoredRecords:
    outputs = None if values is None else RecordOutputs({"y": np.array(values, np.float32)}, None)
    call = ModelCall(None, 0, milliseconds * 1000, len(rows), None if values else "broken")
    return ScoredRecords(np.array(rows, np.int64), call, outputs)


def test_answers_errors_and_agreement_are_counted() -> None:
    tallies = ArmTallies()
    candidate = [answered([0, 2, 5], [1.0, 2.0, 3.0], 6), answered([7], None)]
    tallies.answered(KEY, candidate)
    assert tallies.changes() == [ArmStatistics(*KEY, records=4, errors=1)]
    assert tallies.changes() == []
    serving = [answered([5, 7], [3.0, 1.0], 2), answered([0, 2], [1.0, 2.5], 2)]
    tallies.compared(KEY, candidate, serving, LIMITS)
    (seen,) = tallies.changes()
    assert (seen.records, seen.errors, seen.compared, seen.agreeing) == (4, 1, 3, 2)


@pytest.mark.parametrize("failed", ["neither", "candidate", "serving"])
def test_the_calls_into_which_an_error_divides_a_batch_do_not_make_a_candidate_slow(failed: str) -> None:
    tallies = ArmTallies()
    whole = {name: [answered([0, 1], [1.0, 2.0], 8 if name == "candidate" else 2)] for name in ("candidate", "serving")}
    tallies.compared(KEY, whole["candidate"], whole["serving"], LIMITS)
    divided = {name: [answered([3], [1.0], 90 if name == failed else 0)] for name in whole}
    if failed != "neither":
        divided[failed].append(answered([4], None, 90))
    tallies.compared(KEY, divided["candidate"], divided["serving"], LIMITS)
    (seen,) = tallies.changes()
    assert (seen.compared, seen.slowdown) == (3, 4.0)
    assert (seen.timed, seen.slow) == ((2, 1) if failed == "neither" else (1, 1))


def test_an_output_that_is_missing_is_no_agreement() -> None:
    tallies = ArmTallies()
    other = ScoredRecords(np.array([0]), ModelCall(None, 0, 1, 1), RecordOutputs({"z": np.array([1.0])}, None))
    tallies.compared(KEY, [other], [answered([0], [1.0])], LIMITS)
    (seen,) = tallies.changes()
    assert (seen.compared, seen.agreeing) == (1, 0)


def test_answers_that_are_never_compared_make_no_agreement() -> None:
    tallies = ArmTallies()
    tallies.compared(KEY, [answered([0], [1.0])], [answered([1], [1.0]), answered([0], None)], LIMITS)
    assert tallies.changes() == []


def test_the_routes_of_the_past_are_forgotten() -> None:
    tallies = ArmTallies()
    for route in range(100):
        tallies.answered(("m", route, "canary"), [answered([0], [1.0])])
    assert [one.route for one in tallies.changes()] == list(range(36, 100))
