from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ConditionError
from models.routing.assignment import AssignedArm, assign
from models.routing.plan import PlannedArm, PlannedGeneration, PlannedSegment
from tests.models.routing.test_split import choose, uniform


def arm(name: str, weight: float = 1.0, role: str = "serve") -> PlannedArm:
    return PlannedArm((), name, role, weight)  # type: ignore[arg-type]


def never() -> Sequence[bytes]:
    raise AssertionError("nothing needs the keys")


def shown(assigned: Sequence[AssignedArm]) -> dict[tuple[int, int], list[int]]:
    return {(one.segment, one.place): one.rows.tolist() for one in assigned}


def test_one_arm_gets_all_records_without_a_look_at_them() -> None:
    generation = PlannedGeneration((PlannedSegment((arm("a"), arm("s", 1.0, "shadow"), arm("off", 0.0))),))
    found = assign(generation, pa.RecordBatch.from_pydict({"x": [1, 2, 3]}), never)
    assert shown(found.answering) == {(0, 0): [0, 1, 2]}
    assert shown(found.shadows) == {(0, 1): [0, 1, 2]}


def test_no_records_have_no_arm() -> None:
    generation = PlannedGeneration((PlannedSegment((arm("a"), arm("b"))),))
    found = assign(generation, pa.RecordBatch.from_pydict({"x": pa.array([], pa.int64())}), never)
    assert (found.answering, found.shadows) == ((), ())


@given(st.lists(st.tuples(st.none() | st.integers(0, 5), st.binary(max_size=4)), max_size=20))
def test_each_record_has_the_arm_of_its_first_segment_and_its_key(rows: list[tuple[int | None, bytes]]) -> None:
    generation = PlannedGeneration(
        (
            PlannedSegment((arm("low"),), "x < 2"),
            PlannedSegment((arm("never"),), "x < 1"),
            PlannedSegment((arm("a", 3.0), arm("s", 0.5, "shadow"), arm("b", 1.0, "candidate"))),
        ),
        salt="salt",
    )
    columns = pa.RecordBatch.from_pydict({"x": pa.array([x for x, _ in rows], pa.int64())})
    found = assign(generation, columns, lambda: [key for _, key in rows])
    expected: dict[tuple[int, int], list[int]] = {}
    shadows: dict[tuple[int, int], list[int]] = {}
    for place, (x, key) in enumerate(rows):
        if x is not None and x < 2:
            expected.setdefault((0, 0), []).append(place)
            continue
        chosen = choose(key, {"a": 3.0, "b": 1.0}, "salt")
        expected.setdefault((2, {"a": 0, "b": 2}[chosen]), []).append(place)
        if uniform(key, "s", "salt") < 0.5:
            shadows.setdefault((2, 1), []).append(place)
    assert shown(found.answering) == expected
    assert shown(found.shadows) == shadows


def test_records_are_split_by_fields_where_the_route_says_so() -> None:
    generation = PlannedGeneration((PlannedSegment((arm("a"), arm("b"))),), split_by=("customer",))
    columns = pa.RecordBatch.from_pydict({"customer": ["x", "y", "x", "z"]})
    found = assign(generation, columns, never)
    names = {row: generation.segments[0].arms[one.place].name for one in found.answering for row in one.rows.tolist()}
    assert [names[row] for row in range(4)] == [choose(key, {"a": 1.0, "b": 1.0}) for key in (b"x", b"y", b"x", b"z")]


def test_a_condition_that_does_not_fit_is_an_error() -> None:
    generation = PlannedGeneration((PlannedSegment((arm("a"),), "y > 1"), PlannedSegment((arm("b"),))))
    with pytest.raises(ConditionError):
        assign(generation, pa.RecordBatch.from_pydict({"x": [1]}), never)
