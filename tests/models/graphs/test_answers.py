from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.columns.outputs import RecordOutputs, joined_outputs
from models.columns.scored import ModelCall, ScoredRecords
from models.errors import ScoringError
from models.graphs.answers import Answer, Rows, alike, answered_by_all, choose, column_of, with_outputs, with_steps


def part(rows: list[int], error: str | None = None, **arrays: object) -> ScoredRecords:
    outputs = None if error else RecordOutputs({name: np.array(array) for name, array in arrays.items()}, None)
    return ScoredRecords(np.array(rows, np.int64), ModelCall(None, 0, 0, len(rows), error), outputs)


def rows_of(*rows: int) -> Rows:
    return np.array(rows, np.int64)


@st.composite
def record_outputs(draw: st.DrawFn) -> RecordOutputs:
    """Outputs of some records, as one row each or as any number of rows."""
    lengths = draw(st.lists(st.integers(0, 3), max_size=6))
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    exploded = draw(st.booleans())
    count = int(bounds[-1]) if exploded else len(lengths)
    numbers = np.array(draw(st.lists(st.integers(0, 99), min_size=2 * count, max_size=2 * count)))
    return RecordOutputs({"a": numbers.reshape(count, 2)}, bounds if exploded else None)


def count_of(outputs: RecordOutputs) -> int:
    return len(outputs.arrays["a"]) if outputs.bounds is None else len(outputs.bounds) - 1


def listed(outputs: RecordOutputs) -> list[list[int]]:
    return [outputs.of(index)["a"].tolist() for index in range(count_of(outputs))]


@given(record_outputs(), st.data())
def test_taken_outputs_are_those_of_the_records_taken(outputs: RecordOutputs, data: st.DataObject) -> None:
    every = listed(outputs)
    places = data.draw(st.lists(st.integers(0, len(every) - 1), max_size=8)) if every else []
    assert listed(outputs.take(rows_of(*places))) == [every[place] for place in places]


@given(record_outputs(), st.integers(1, 3))
def test_joined_outputs_stand_behind_each_other(outputs: RecordOutputs, times: int) -> None:
    assert listed(joined_outputs([outputs] * times)) == listed(outputs) * times


def test_an_answer_gives_outputs_by_record_whatever_part_they_came_in() -> None:
    answer = Answer((part([1, 4], out=[10, 40]), part([2], error="bad"), part([0, 3], out=[0, 30])))
    assert answer.rows.tolist() == [0, 1, 3, 4]
    assert answer.of(rows_of(1, 3)).arrays["out"].tolist() == [10, 30]
    assert answer.of(answer.rows).arrays["out"].tolist() == [0, 10, 30, 40]
    with pytest.raises(ScoringError, match="there are no outputs"):
        answer.of(rows_of(2))


def test_records_that_a_step_has_not_answered_are_left_out() -> None:
    answers = {
        "a": Answer((part([0, 2, 3], out=[1, 2, 3]),)),
        "b": Answer((part([1, 2], out=[1, 2]), part([3], error="bad"))),
    }
    assert answered_by_all(rows_of(0, 1, 2, 3), answers, ["a", "b"]).tolist() == [2]
    assert answered_by_all(rows_of(0, 1, 2, 3), answers, []).tolist() == [0, 1, 2, 3]


def test_records_are_alike_when_the_outputs_of_each_step_have_the_same_form() -> None:
    answers = {
        "a": Answer((part([0, 1], out=[1, 2]), part([2, 3], out=[1.5, 2.5]))),
        "b": Answer((part([0, 3], out=[1, 2]), part([1, 2], other=[1, 2]))),
    }
    every = rows_of(0, 1, 2, 3)
    assert [group.tolist() for group in alike(every, answers, ["a"])] == [[0, 1], [2, 3]]
    assert [group.tolist() for group in alike(every, answers, ["a", "b"])] == [[0], [1], [3], [2]]
    assert [group.tolist() for group in alike(every, answers, [])] == [[0, 1, 2, 3]]


def test_an_output_is_chosen_by_name_or_as_the_only_one() -> None:
    answers = {"a": Answer((part([0], out=[1]),)), "b": Answer((part([0], x=[1], y=[2]),))}
    assert choose("a", answers, rows_of(0)).reference == "a.out"
    assert choose("b.y", answers, rows_of(0)).array.tolist() == [2]
    with pytest.raises(ScoringError, match=r"step 'b' has the outputs x, y; refer to one as b.OUTPUT"):
        choose("b", answers, rows_of(0))
    with pytest.raises(ScoringError, match="step 'a' has no output 'x'; it has out"):
        choose("a.x", answers, rows_of(0))


def test_outputs_become_columns_with_a_list_where_there_are_several_values() -> None:
    texts = np.array([b"a", "ü"], object)
    assert column_of(texts).to_pylist() == ["a", "ü"]
    assert column_of(np.array([b"\xff"], object)).to_pylist() == [b"\xff"]
    assert column_of(np.array([[[1, 2]], [[3, 4]]])).to_pylist() == [[1, 2], [3, 4]]
    assert column_of(np.array([[1], [2], [3]]), np.array([0, 2, 3])).to_pylist() == [[1, 2], [3]]
    assert column_of(np.array([True, False])).to_pylist() == [True, False]
    assert column_of(np.zeros(1, np.float16)).type == pa.float32()


def test_outputs_stand_beside_the_fields_by_reference_and_by_step() -> None:
    columns = pa.RecordBatch.from_pydict({"x": [1, 2], "a": ["hidden"] * 2})
    answers = {"a": Answer((part([0, 1], out=[3, 4]),))}
    rows = rows_of(0, 1)
    assert with_outputs(columns, [choose("a", answers, rows)]).to_pydict() == {
        "x": [1, 2],
        "a": ["hidden"] * 2,
        "a.out": [3, 4],
    }
    assert with_steps(columns, answers, ["a"], rows).to_pydict() == {"x": [1, 2], "a": [{"out": 3}, {"out": 4}]}
