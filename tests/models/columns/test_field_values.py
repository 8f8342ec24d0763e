"""Columns of all Arrow types to inputs of all dtypes, against one value at a time in plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.columns.field_values import is_text, values_of

LONGS = st.integers(-(2**63), 2**63 - 1)
DOUBLES = st.floats() | st.sampled_from([1e300, 0.1, -0.0])
VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.null(): st.none(),
    pa.bool_(): st.booleans(),
    pa.int32(): st.integers(-(2**31), 2**31 - 1) | st.integers(-200, 300),
    pa.int64(): LONGS | st.integers(-200, 300),
    pa.float32(): st.floats(width=32),
    pa.float64(): DOUBLES,
    pa.string(): st.text(st.characters(codec="utf-8"), max_size=4),
    pa.binary(): st.binary(max_size=4),
    pa.binary(2): st.binary(min_size=2, max_size=2),
}
DTYPES = ["bool", "int8", "uint8", "int32", "int64", "uint64", "float16", "float32", "float64", "object"]


def value_of(value: Any, dtype: np.dtype[Any]) -> Any:
    """One value; raises ValueError when it does not fit."""
    if dtype.kind == "O":
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, bytes):
            return value
    elif dtype.kind == "f":
        if value is None:
            return dtype.type(np.nan)
        if isinstance(value, (bool, int, float)):
            with np.errstate(over="ignore"):
                return np.array([value]).astype(dtype)[0]
    elif isinstance(value, bool) or (
        type(value) is int and dtype.kind in "iu" and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max
    ):
        return dtype.type(value)
    raise ValueError(value)


def range_of(dtype: np.dtype[Any]) -> range:
    limits = np.iinfo(dtype.name)
    return range(int(limits.min), int(limits.max) + 1)


def expected_of(values: Sequence[Any], dtype: np.dtype[Any]) -> list[Any] | None:
    """All values, or None if one of them does not fit."""
    try:
        return [value_of(value, dtype) for value in values]
    except ValueError:
        return None


def read_of(column: pa.Array, dtype: np.dtype[Any]) -> list[Any] | None:
    try:
        array = values_of(column, dtype)
    except ValueError:
        return None
    assert array.dtype == dtype
    assert array.shape == (len(column),)
    return list(array)


def check_same(read: list[Any] | None, expected: list[Any] | None) -> None:
    assert (read is None) == (expected is None)
    np.testing.assert_array_equal(np.array(read), np.array(expected))


COLUMNS = st.sampled_from(sorted(VALUES, key=str)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(VALUES[kind] | st.none(), max_size=6))
)


@given(COLUMNS, st.sampled_from(DTYPES), st.data())
def test_a_column_is_its_values_one_by_one(column: tuple[Any, list[Any]], name: str, data: st.DataObject) -> None:
    kind, values = column
    dtype = np.dtype(name)
    array = pa.array(values, kind)
    if kind == pa.float32():
        values = array.to_pylist()
    if is_text(kind) and dtype.kind == "f":
        values = [b"" if value is None else value for value in values]  # a text that is null is not a number either
    check_same(read_of(array, dtype), expected_of(values, dtype))
    start = data.draw(st.integers(0, len(values)))
    check_same(read_of(array.slice(start), dtype), expected_of(values[start:], dtype))
    chosen = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=4)) if values else []
    taken = array.take(pa.array(chosen, pa.int64()))
    check_same(read_of(taken, dtype), expected_of([values[place] for place in chosen], dtype))


MIXED = [pa.int32(), pa.int64(), pa.float64(), pa.string(), pa.null()]


@given(
    st.lists(st.sampled_from(MIXED).flatmap(lambda one: st.tuples(st.just(one), VALUES[one]))), st.sampled_from(DTYPES)
)
def test_each_value_of_a_union_is_what_it_is_alone(given_values: list[tuple[Any, Any]], name: str) -> None:
    dtype = np.dtype(name)
    values = [value for _, value in given_values]
    groups: list[list[Any]] = [[] for _ in MIXED]
    places = []
    for kind, value in given_values:
        places.append(len(groups[MIXED.index(kind)]))
        groups[MIXED.index(kind)].append(value)
    children = [pa.array(group, kind) for group, kind in zip(groups, MIXED, strict=True)]
    codes = pa.array([MIXED.index(kind) for kind, _ in given_values], pa.int8())
    column = pa.UnionArray.from_dense(codes, pa.array(places, pa.int32()), children)
    for place, value in enumerate(values):
        check_same(read_of(column.slice(place, 1), dtype), expected_of([value], dtype))
    together = read_of(column, dtype)
    if together is not None:  # values without a common type are scored one by one
        check_same(together, expected_of(values, dtype))


def test_a_long_beside_a_null_is_rounded_once() -> None:
    value = 2**62 + 2**38 + 1  # a double rounds it to the middle of two singles
    alone, beside = (values_of(pa.array(one), np.dtype("float32"))[0] for one in ([value], [value, None]))
    assert alone == beside


def test_tensorflow_takes_what_arrow_lets_no_one_write_to() -> None:
    tensorflow = pytest.importorskip("tensorflow")
    for name in ("float32", "int64"):
        array = values_of(pa.array([1, 2, 3], pa.from_numpy_dtype(np.dtype(name))), np.dtype(name))
        assert not array.flags.writeable
        assert tensorflow.constant(array).numpy().tolist() == [1, 2, 3]
