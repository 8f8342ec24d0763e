"""Joins several fields of records into the matrix of one model input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from models.columns.field_values import cast_floats, values_of
from models.errors import FieldValueError
from models.tensors import Array, TensorSpec

_FLOATS = (pa.float32(), pa.float64())


@dataclass(frozen=True)
class FloatFields:
    """Fields that all hold numbers of the same floating-point type, which Arrow joins exactly.

    Attributes:
      columns: the columns of the records.
      places: the places of the fields among them.
    """

    columns: pa.Schema
    places: tuple[int, ...]

    @classmethod
    def of(cls, names: Sequence[str], columns: pa.Schema) -> FloatFields | None:
        """These fields; None if their types differ, or are no floating-point types."""
        kinds = [columns.field(name).type for name in names]
        if kinds[0] not in _FLOATS or any(kind != kinds[0] for kind in kinds):
            return None
        return cls(columns, tuple(columns.get_field_index(name) for name in names))


def matrix_of(spec: TensorSpec, names: Sequence[str], floats: FloatFields | None, columns: pa.RecordBatch) -> Array:
    """The values of some fields in the dtype of a model input: [rows, fields], each row contiguous in memory.

    Args:
      spec: the model input.
      names: the names of the fields, in the order of the matrix.
      floats: the same fields if they are alike; it counts only for records with the columns that it names.
      columns: the records.

    Raises:
      FieldValueError: a value does not fit the input; the error names its field.
    """
    if floats is not None and spec.dtype.kind == "f" and columns.schema.equals(floats.columns):
        # Arrow joins columns in a fraction of the time that numpy takes: 31 instead of 99 microseconds for 20 fields of
        # 2,000 records, 3 instead of 103 for one record. Integers it would round, and booleans it refuses. numpy turns
        # columns into rows in the pass that casts them: 32 microseconds for both, where Arrow's rows took 38.
        joined: Array = columns.select(floats.places).to_tensor(null_to_nan=True, row_major=False).to_numpy()
        return np.ascontiguousarray(cast_floats(joined, spec.dtype))
    gathered: Array = np.empty((len(names), columns.num_rows), spec.dtype)
    for place, name in enumerate(names):
        gathered[place] = values_for(spec, name, columns.column(name))
    return np.ascontiguousarray(gathered.T)  # at half the cost of filling its columns, which lie apart


def values_for(spec: TensorSpec, name: str, column: pa.Array) -> Array:
    """The values of one field in the dtype of a model input.

    Raises:
      FieldValueError: a value does not fit the input; the error names the field.
    """
    try:
        return values_of(column, spec.dtype)
    except ValueError as error:
        raise FieldValueError(f"model input {spec.name!r} ({spec.dtype}) from {name}: {error}") from error
