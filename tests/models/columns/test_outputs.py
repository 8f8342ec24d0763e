from __future__ import annotations

import numpy as np
import pytest

from models.columns.outputs import RecordOutputs, select_outputs
from models.errors import ScoringError


def test_outputs_are_chosen_and_named_as_the_descriptor_wants() -> None:
    outputs = {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])}
    assert set(select_outputs(outputs, {}, 2).arrays) == {"a", "b"}
    assert select_outputs(outputs, {"score": "b"}, 2).of(1) == {"score": 4.0}
    with pytest.raises(ScoringError, match="no output 'c'; it returned a, b"):
        select_outputs(outputs, {"score": "c"}, 2)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (0, 2)])
def test_an_output_that_has_not_a_row_a_row_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ScoringError, match="but 2 rows were scored"):
        select_outputs({"a": np.zeros(shape)}, {}, 2)


def test_an_output_that_no_result_can_hold_is_refused() -> None:
    with pytest.raises(ScoringError, match="complex128"):
        select_outputs({"a": np.zeros(2, np.complex128)}, {}, 2)
    with pytest.raises(ScoringError, match="18446744073709551615"):
        select_outputs({"a": np.array([2**64 - 1], np.uint64)}, {}, 1)
    assert select_outputs({"a": np.array([2**63 - 1], np.uint64)}, {}, 1).of(0)["a"] == 2**63 - 1


def test_texts_of_a_record_keep_their_last_bytes() -> None:
    array = np.empty(1, object)
    array[0] = b"ab\0"
    text = select_outputs({"a": array}, {}, 1).of(0)["a"]
    assert text.shape == ()
    assert text.tolist() == b"ab\0"


@pytest.mark.parametrize("bounds", [None, np.array([0, 2, 2, 5])])
def test_the_outputs_of_one_record_are_a_list_of_one(bounds: np.ndarray | None) -> None:
    rows = 3 if bounds is None else 5
    outputs = RecordOutputs({"a": np.arange(2 * rows).reshape(rows, 2)}, bounds)
    for index in range(3):
        only = outputs.only(index)
        np.testing.assert_array_equal(only.of(0)["a"], outputs.of(index)["a"])
