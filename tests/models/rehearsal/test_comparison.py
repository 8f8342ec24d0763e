"""Summaries of two models' answers to the same records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.columns.outputs import RecordOutputs
from models.columns.scored import ModelCall, ScoredRecords
from models.rehearsal.comparison import AnswerTally, Comparison, ComparisonTally, OutputComparison, Performance
from models.rehearsal.limits import Limits, Rehearsal, broken_limits


def part(rows: Sequence[int], outputs: Mapping[str, Any] | None, milliseconds: float = 1.0) -> ScoredRecords:
    error = None if outputs is not None else "it failed"
    call = ModelCall(None, 0, round(milliseconds * 1000), len(rows), error)
    arrays = None if outputs is None else RecordOutputs({name: np.asarray(one) for name, one in outputs.items()}, None)
    return ScoredRecords(np.array(rows, np.int64), call, arrays)


def parts_of(answers: Sequence[float | None], cuts: Sequence[int]) -> list[ScoredRecords]:
    """Answers to records, or None, in calls of any size."""
    found = []
    bounds = [0, *sorted(cuts), len(answers)]
    for start, end in pairwise(bounds):
        good = [row for row in range(start, end) if answers[row] is not None]
        bad = [row for row in range(start, end) if answers[row] is None]
        if good:
            found.append(part(good, {"y": np.array([answers[row] for row in good], np.float64)}))
        if bad:
            found.append(part(bad, None))
    return found


ANSWERS = st.lists(st.tuples(*[st.none() | st.sampled_from([0.0, 1.0, 2.0])] * 2), min_size=1, max_size=20)


@given(ANSWERS, st.data())
def test_records_are_matched_however_they_were_split_into_calls(
    answers: list[tuple[float | None, float | None]], data: st.DataObject
) -> None:
    cuts = st.lists(st.integers(0, len(answers)), max_size=4)
    ours, theirs = [a for a, _ in answers], [b for _, b in answers]
    tally = ComparisonTally(0.0)
    tally.add(parts_of(ours, data.draw(cuts)), parts_of(theirs, data.draw(cuts)))
    found = tally.comparison()
    compared = [(a, b) for a, b in answers if b is not None]
    agreeing = sum(a == b for a, b in compared)
    assert found.records == len(compared)
    assert found.agreement == (agreeing / len(compared) if compared else 0.0)


def test_a_record_agrees_when_all_outputs_do() -> None:
    tally = ComparisonTally(0.0)
    live = part([0, 1, 2, 3], {"a": [1.0, 1.0, 1.0, 1.0], "b": [1, 1, 1, 1]})
    tally.add([part([0, 1, 2, 3], {"a": [1.0, 1.0, 2.0, 2.0], "b": [1, 2, 1, 2]})], [live])
    found = tally.comparison()
    assert found.agreement == 0.25
    assert [(one.name, one.kind, one.agreement) for one in found.outputs] == [("a", "number", 0.5), ("b", "value", 0.5)]


def test_an_output_that_is_missing_agrees_with_nothing() -> None:
    tally = ComparisonTally(0.0)
    tally.add([part([0, 1], {"a": [1.0, 1.0]})], [part([0, 1], {"a": [1.0, 1.0], "b": [1, 1]})])
    found = tally.comparison()
    assert found.agreement == 0.0
    assert [(one.name, one.agreement, one.shift) for one in found.outputs] == [("a", 1.0, 0.0), ("b", 0.0, 0.0)]


def test_the_performance_counts_records_and_calls() -> None:
    tally = AnswerTally()
    tally.add([part([0, 1], {"y": [1.0, np.nan]}, 1.0), part([2], None)], 0.5)
    tally.add([part([0, 1, 2], {"y": [np.inf, 1.0, 1.0]}, 3.0)], 0.5)
    assert tally.performance() == Performance(6, 1, 2, 6.0, 2.0, 2.98, (("it failed", 1),))


def test_a_record_with_several_rows_is_counted_once() -> None:
    outputs = RecordOutputs({"y": np.array([[np.nan], [np.nan], [1.0]])}, np.array([0, 2, 2, 3]))
    tally = AnswerTally()
    tally.add([replace(part([0, 1, 2], {"y": [1.0] * 3}), outputs=outputs)], 1.0)
    assert tally.performance().non_finite == 1


# --- Limits.

GOOD = Performance(100, 0, 0, 1_000.0, 1.0, 2.0)
SAME = Comparison(100, 1.0, (OutputComparison("y", "number", 1.0, 0.0),))
REHEARSAL = Rehearsal("m/2", "m/1", "m", 0, False, GOOD, GOOD, SAME)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"performance": replace(GOOD, errors=2)}, "--max-errors"),
        ({"performance": replace(GOOD, errors=1, non_finite=1)}, "--max-errors"),
        ({"comparison": replace(SAME, agreement=0.94)}, "--min-agreement"),
        ({"comparison": replace(SAME, outputs=(OutputComparison("y", "number", 1.0, 0.21),))}, "--max-shift"),
        ({"performance": replace(GOOD, p50=2.01)}, "--max-slowdown"),
    ],
)
def test_each_limit_that_is_broken_is_named(change: dict[str, Any], named: str) -> None:
    (sentence,) = broken_limits(replace(REHEARSAL, **change), Limits())
    assert named in sentence


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"performance": replace(GOOD, errors=1)},
        {"performance": replace(GOOD, non_finite=100), "non_finite_allowed": True},
        {"comparison": replace(SAME, agreement=0.95)},
        {"performance": replace(GOOD, p50=2.0)},
        {"against": None, "live_performance": None, "comparison": None},
        {"comparison": Comparison(0, 0.0, ())},
        {"live_performance": replace(GOOD, p50=0.0)},
    ],
)
def test_what_is_within_the_limits_breaks_none(change: dict[str, Any]) -> None:
    assert list(broken_limits(replace(REHEARSAL, **change), Limits())) == []
