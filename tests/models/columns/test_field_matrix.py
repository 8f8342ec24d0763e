"""Several fields as a matrix: the values are the same, whichever way they are joined."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.columns.field_matrix import FloatFields, matrix_of
from models.errors import FieldValueError
from models.tensors import TensorSpec

DOUBLES = st.none() | st.floats(width=64)
ROWS = st.lists(st.tuples(DOUBLES, DOUBLES, DOUBLES), max_size=5)


def filled(columns: pa.RecordBatch, names: tuple[str, ...], dtype: Any = np.float32) -> Any:
    """The matrix of these fields, as a plan for the columns fills it."""
    spec = TensorSpec("v", np.dtype(dtype), (None, len(names)))
    return matrix_of(spec, names, FloatFields.of(names, columns.schema), columns)


def batch(rows: list[tuple[Any, ...]], kind: pa.DataType) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.record_batch([pa.array(values, kind) for values in columns], names=["a", "b", "c"])


@given(ROWS, st.sampled_from([np.float16, np.float32, np.float64]), st.integers(0, 2))
def test_floats_are_rounded_once_and_null_is_nan(rows: list[tuple[Any, ...]], dtype: Any, start: int) -> None:
    columns = batch(rows, pa.float64()).slice(start)
    found = filled(columns, ("c", "a", "c"), dtype)
    wanted = [[np.nan if value is None else value for value in (c, a, c)] for a, _, c in rows[start:]]
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(found, np.array(wanted, np.float64).reshape(-1, 3).astype(dtype))
    assert found.dtype == dtype
    assert found.flags.c_contiguous


@pytest.mark.filterwarnings("error")
def test_a_number_that_is_too_large_becomes_infinite_without_a_warning() -> None:
    found = filled(batch([(1e300, -1e300, 1.0)], pa.float64()), ("a", "b", "c"))
    np.testing.assert_array_equal(found, [[np.inf, -np.inf, 1.0]])


def test_a_long_beside_a_float_is_rounded_once() -> None:
    # By way of float64 it would become 2**60: float64 drops the last bit, and what is left is a tie.
    long = 2**60 + 2**36 + 1
    columns = pa.record_batch({"long": pa.array([long]), "double": pa.array([0.5])})
    assert filled(columns, ("long", "double")).tolist() == [[2**60 + 2**37, 0.5]]
    assert float(np.float32(np.float64(long))) == 2**60


def test_whole_numbers_that_fit_no_float_are_not_joined_as_floats() -> None:
    columns = pa.record_batch({"a": pa.array([2**62 + 1]), "b": pa.array([3])})
    assert filled(columns, ("a", "b"), np.int64).tolist() == [[2**62 + 1, 3]]


def test_columns_that_differ_from_those_of_the_plan_are_filled_as_they_are() -> None:
    planned = pa.schema([("a", pa.float64()), ("b", pa.float64())])
    columns = pa.record_batch({"b": pa.array([True]), "other": pa.array(["x"]), "a": pa.array([2**60 + 2**36 + 1])})
    spec = TensorSpec("v", np.dtype(np.float32), (None, 2))
    floats = FloatFields.of(("a", "b"), planned)
    assert floats is not None
    assert matrix_of(spec, ("a", "b"), floats, columns).tolist() == [[2**60 + 2**37, 1.0]]


def test_floats_do_not_fill_an_input_of_integers() -> None:
    with pytest.raises(FieldValueError, match=r"model input 'v' \(int64\) from a: double values cannot fill it"):
        filled(batch([(1.0, 2.0, 3.0)], pa.float64()), ("a", "b"), np.int64)
