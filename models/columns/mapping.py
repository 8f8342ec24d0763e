"""Maps the columns of records to the inputs of a model.

A model input is filled from the field of the same name, or from the field or fields that the descriptor maps to it. A
list of fields, or an array field for an input with a fixed second dimension, becomes one row per record. An array field
for an input with one value per row becomes one row per item: the record's scalars are repeated for each item, and the
outputs are grouped by record again. If records have a column of whole messages, it fills an input that has one of the
usual names of such inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from models.columns.field_matrix import FloatFields, matrix_of, values_for
from models.columns.field_values import TEXT, is_number, is_text
from models.errors import FieldValueError, MappingError
from models.records.codecs.base import sample_of
from models.tensors import Array, Signature, TensorSpec

# The usual input names of models that parse serialized records; the message itself fills such an input.
WHOLE_RECORD_INPUTS = (
    "examples",
    "serialized_example",
    "serialized_examples",
    "serialized_tf_example",
    "serialized_tf_examples",
)

Kind = Literal["scalar", "items", "vector", "fields"]


@dataclass(frozen=True)
class InputColumn:
    """How one model input is filled.

    Attributes:
      spec: the input in the signature.
      fields: the record fields that fill it, in order.
      kind: scalar: one field, one value per record; items: one array field, one row per item; vector: one array
        field, one row per record; fields: several fields, one row per record.
      floats: several fields that hold floating-point numbers of one type; None for others.
    """

    spec: TensorSpec
    fields: tuple[str, ...]
    kind: Kind
    floats: FloatFields | None = None


@dataclass(frozen=True)
class InputMapping:
    """How all inputs of a signature are filled.

    Attributes:
      columns: one for each input.
      signature: the name of the signature.
    """

    columns: tuple[InputColumn, ...]
    signature: str = ""

    @cached_property
    def exploded(self) -> bool:
        """Whether a record becomes as many rows as an array field has items."""
        return any(column.kind == "items" for column in self.columns)


@dataclass(frozen=True)
class ModelInputs:
    """The inputs of a call of a model.

    Attributes:
      arrays: by input name; the first dimension is the number of rows.
      bounds: int64 [records + 1]: record i has the rows bounds[i] to bounds[i + 1]; None if record i has row i.
      rows: the number of rows.
    """

    arrays: dict[str, Array]
    bounds: npt.NDArray[np.int64] | None
    rows: int


class Fields(Protocol):
    """Named columns, such as those of a codec."""

    @property
    def name(self) -> str:
        """The name of the records in errors."""

    @property
    def fields(self) -> pa.Schema:
        """The columns."""


def plan_inputs(signature: Signature, mapped: Mapping[str, Sequence[str]], codec: Fields) -> InputMapping:
    """Finds the fields that fill each input of the signature.

    Args:
      signature: the signature of the model.
      mapped: the descriptor's mapping from inputs to the fields that fill them.
      codec: the codec whose columns will be scored, or another source of columns.

    Raises:
      MappingError: an input is neither a field nor mapped, or a mapped field or input does not exist.
    """
    for name in mapped:
        if name not in signature.inputs:
            known = ", ".join(sorted(signature.inputs))
            raise MappingError(
                f"the descriptor maps input {name!r}, which signature {signature.name!r} does not have; it has {known}"
            )
    columns = tuple(_plan_input(spec, tuple(mapped.get(name, ())), codec) for name, spec in signature.inputs.items())
    mapping = InputMapping(columns, signature.name)
    if mapping.exploded and any(column.kind in ("vector", "fields") for column in columns):
        raise MappingError(
            f"signature {signature.name!r}: an array field with one row per item cannot be combined with a vector input"
        )
    return mapping


def _plan_input(spec: TensorSpec, mapped: tuple[str, ...], codec: Fields) -> InputColumn:
    known = codec.fields
    fields = mapped or ((spec.name,) if spec.name in known.names else _whole_record(spec, known))
    if not fields:
        wanted = "" if spec.shape is None else f" {_shape_text(spec)}"
        scalars = ",".join(one.name for one in known if is_number(one.type))
        raise MappingError(
            f"model input {spec.name!r}{wanted} is not a field of {codec.name!r} records and the descriptor maps no "
            f"field to it; publish with --input {spec.name}=FIELD[,FIELD...], for example --input {spec.name}={scalars}"
        )
    for name in fields:
        if name not in known.names:
            raise MappingError(f"model input {spec.name!r}: {codec.name!r} records have no field {name!r}")
        if spec.dtype != TEXT and is_text(known.field(name).type):
            raise MappingError(f"model input {spec.name!r} takes {spec.dtype}, but field {name!r} holds text")
    kind = _kind(spec, fields, known)
    column = InputColumn(spec, fields, kind, FloatFields.of(fields, known) if kind == "fields" else None)
    _check_width(column, known)
    return column


def _kind(spec: TensorSpec, fields: tuple[str, ...], known: pa.Schema) -> Kind:
    if len(fields) > 1:
        return "fields"
    if not pa.types.is_list(known.field(fields[0]).type):
        return "scalar"
    one_a_row = spec.shape is None or len(spec.shape) == 1 or (len(spec.shape) == 2 and spec.shape[1] == 1)
    return "items" if one_a_row else "vector"


def _whole_record(spec: TensorSpec, known: pa.Schema) -> tuple[str, ...]:
    """The column of whole messages for an input that has one of the usual names."""
    if spec.name not in WHOLE_RECORD_INPUTS or spec.dtype != TEXT:
        return ()
    return tuple(one.name for one in known if sample_of(one) is not None)[:1]


def _check_width(column: InputColumn, known: pa.Schema) -> None:
    spec, fields = column.spec, column.fields
    if column.kind == "fields" and any(pa.types.is_list(known.field(name).type) for name in fields):
        raise MappingError(
            f"model input {spec.name!r}: a list of fields cannot contain an array field: {', '.join(fields)}"
        )
    if column.kind in ("vector", "items") or spec.shape is None:
        return
    width = 1
    for size in spec.shape[1:]:
        width *= len(fields) if size is None else size
    if width != len(fields):
        raise MappingError(
            f"model input {spec.name!r} {_shape_text(spec)} takes {width} values per record, but {len(fields)} "
            f"fields are given: {', '.join(fields)}"
        )


def to_model_inputs(mapping: InputMapping, columns: pa.RecordBatch) -> ModelInputs:
    """Fills the inputs of a model from the columns of records.

    A null becomes NaN for a float input, and a null array field has no items.

    Raises:
      FieldValueError: a value does not fit its input. The error names the field but not the record, which can be found
        by scoring the records one by one.
    """
    bounds = _bounds(mapping, columns) if mapping.exploded else None
    count = columns.num_rows if bounds is None else int(bounds[-1])
    arrays = {column.spec.name: _fill(column, columns, bounds, count) for column in mapping.columns}
    return ModelInputs(arrays, bounds, count)


def _lengths(column: pa.ListArray) -> npt.NDArray[np.int64]:
    lengths: npt.NDArray[np.int64] = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    return lengths.astype(np.int64, copy=False)


def _bounds(mapping: InputMapping, columns: pa.RecordBatch) -> npt.NDArray[np.int64]:
    fields = [column.fields[0] for column in mapping.columns if column.kind == "items"]
    lengths = _lengths(columns.column(fields[0]))
    for name in fields[1:]:
        if not np.array_equal(lengths, _lengths(columns.column(name))):
            raise FieldValueError(f"the array fields {fields[0]!r} and {name!r} of a record differ in length")
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def _fill(column: InputColumn, columns: pa.RecordBatch, bounds: npt.NDArray[np.int64] | None, count: int) -> Array:
    spec, fields = column.spec, column.fields
    if column.kind == "fields":
        array = matrix_of(spec, fields, column.floats, columns)
    elif column.kind == "vector":
        array = _vector(spec, fields[0], columns.column(fields[0]))
    elif column.kind == "items":
        array = values_for(spec, fields[0], columns.column(fields[0]).flatten())
    else:
        array = values_for(spec, fields[0], columns.column(fields[0]))
        if bounds is not None:
            array = np.repeat(array, np.diff(bounds))
    return _shaped(spec, fields, array, count)


def _vector(spec: TensorSpec, name: str, column: pa.ListArray) -> Array:
    lengths = _lengths(column)
    width = int(lengths[0]) if len(lengths) else 0
    if (lengths != width).any():
        raise FieldValueError(f"field {name!r}: arrays of different lengths cannot fill input {spec.name!r}")
    return values_for(spec, name, column.flatten()).reshape(len(column), width)


def _shaped(spec: TensorSpec, fields: tuple[str, ...], array: Array, count: int) -> Array:
    if spec.shape is None or (array.ndim == len(spec.shape) and array.ndim == 1):
        return array
    shape = (count, *(-1 if size is None else size for size in spec.shape[1:]))
    try:
        if count == 0:
            return array.reshape((0, *(size or 1 for size in spec.shape[1:])))
        return array.reshape(shape)
    except ValueError as error:
        raise FieldValueError(
            f"model input {spec.name!r} takes {_shape_text(spec)}, but {', '.join(fields)} gives {list(array.shape)}"
        ) from error


def _shape_text(spec: TensorSpec) -> str:
    return "[" + ", ".join("n" if size is None else str(size) for size in spec.shape or ()) + "]"
