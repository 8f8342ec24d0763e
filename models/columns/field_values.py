"""Converts an Arrow column to the numpy array of a model input, exactly or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from models.tensors import Array

TEXT = np.dtype(object)


def values_of(column: pa.Array, dtype: np.dtype[np.generic]) -> Array:
    """The values of a column in the dtype of a model input: [rows].

    Null becomes NaN for a float input. Values are never rounded or truncated: 1.5 does not fit an integer, 300 does not
    fit uint8, and a number does not fit a boolean. Texts, enums and bytes become arrays of bytes.

    Raises:
      ValueError: a value does not fit; the text gives the reason.

    Example:
      >>> values_of(pa.array([1, None, 3]), np.dtype("float32"))
      array([ 1., nan,  3.], dtype=float32)
    """
    if not len(column):
        return np.empty(0, dtype)
    if pa.types.is_union(column.type):
        column = _without_union(column)
    if dtype == TEXT:
        return _texts(column)
    if dtype.kind in "fc":
        return _floats(column, dtype)
    return _whole(column, dtype)


def is_text(kind: pa.DataType) -> bool:
    """Whether the values of that type are texts or bytes."""
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def is_number(kind: pa.DataType) -> bool:
    """Whether the values of that type are numbers or, in a union, may be."""
    if pa.types.is_union(kind):
        return any(is_number(kind.field(place).type) for place in range(kind.num_fields))
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _without_union(column: pa.Array) -> pa.Array:
    """The column as one type, if its values have one in common."""
    try:
        return pa.array(column.to_pylist())
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"its values have no type in common: {error}") from error


def _texts(column: pa.Array) -> Array:
    if column.null_count:
        raise ValueError("null is not a text")
    if len(column) and not is_text(column.type):
        raise ValueError(f"{column.type} values are not texts")
    array = np.empty(len(column), object)
    array[:] = column.cast(pa.binary()).to_pylist() if len(column) else []
    return array


def _floats(column: pa.Array, dtype: np.dtype[np.generic]) -> Array:
    if pa.types.is_floating(column.type) and not column.null_count:  # a fast path for the most common columns
        return cast_floats(column.to_numpy(zero_copy_only=False), dtype)
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan, dtype)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    if not is_number(column.type):
        raise ValueError(f"{column.type} values are not numbers")
    null = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
    if null is not None:  # otherwise a long beside a null would be rounded twice
        column = column.fill_null(0)
    values = cast_floats(column.to_numpy(zero_copy_only=False), dtype)
    if null is not None:
        values = np.where(null, dtype.type(np.nan), values)
    return values


def cast_floats(values: Array, dtype: np.dtype[np.generic]) -> Array:
    """The same numbers in a float dtype, in contiguous rows if cast; those too large for it become infinite."""
    if values.dtype == dtype:
        return values
    with np.errstate(over="ignore"):
        return values.astype(dtype, order="C")


def _whole(column: pa.Array, dtype: np.dtype[np.generic]) -> Array:
    if column.null_count:
        raise ValueError("null fills only an input of floats")
    truth = pa.types.is_boolean(column.type)
    if len(column) and not (truth or (dtype.kind in "iu" and pa.types.is_integer(column.type))):
        raise ValueError(f"{column.type} values cannot fill it")
    values: Any = column.to_numpy(zero_copy_only=False) if len(column) else np.zeros(0, dtype)
    if dtype.kind in "iu" and values.size and not truth:
        limits = np.iinfo(dtype.name)
        least, most = int(values.min()), int(values.max())
        if least < limits.min or most > limits.max:
            raise ValueError(f"{least if least < limits.min else most} does not fit {dtype}")
    array: Array = values.astype(dtype, copy=False)
    return array
