"""From a list of records to the inputs of a model, and from its outputs back to the records.

A model input is filled by the field of its name, or by the field (or list of fields) that the descriptor maps to
it. A list of fields, and an array field behind an input with a fixed second dimension, gives one row a record. An
array field behind an input of one value a row gives one row an item: the record's scalars are repeated against
it, and the outputs are cut back to their record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from models.errors import FieldValueError, MappingError, ScoringError
from models.records.schema import RecordSchema, Row
from models.scorers.base import Array, Signature, TensorSpec

Kind = Literal["scalar", "items", "vector", "fields"]


@dataclass(frozen=True)
class InputColumn:
    """How one model input is filled.

    Attributes:
      spec: the input, as the signature has it.
      fields: the record fields that fill it, in order.
      kind: scalar: one field, one value a record; items: one array field, one row an item; vector: one array
        field, one row a record; fields: several fields, one row a record.
    """

    spec: TensorSpec
    fields: tuple[str, ...]
    kind: Kind


@dataclass(frozen=True)
class InputMapping:
    """How all inputs of a signature are filled; `exploded` where a record gives a row an item."""

    columns: tuple[InputColumn, ...]

    @property
    def exploded(self) -> bool:
        """Whether a record gives as many rows as an array field has items."""
        return any(column.kind == "items" for column in self.columns)


@dataclass(frozen=True)
class ModelInputs:
    """What goes into a model.

    Attributes:
      arrays: by input name; the first dimension is the number of rows.
      bounds: int64 [records + 1]: record i has the rows bounds[i] to bounds[i + 1]; None: record i has row i.
      rows: the number of rows.
    """

    arrays: dict[str, Array]
    bounds: npt.NDArray[np.int64] | None
    rows: int


@dataclass(frozen=True)
class RecordOutputs:
    """What came out of a model, for a list of records; `bounds` as in `ModelInputs`."""

    arrays: dict[str, Array]
    bounds: npt.NDArray[np.int64] | None

    def of(self, index: int) -> dict[str, Array]:
        """The outputs of one record: without the batch dimension, or one row an item."""
        if self.bounds is None:
            return {name: array[index, ...] for name, array in self.arrays.items()}
        rows = slice(self.bounds[index], self.bounds[index + 1])
        return {name: array[rows] for name, array in self.arrays.items()}

    def only(self, index: int) -> RecordOutputs:
        """The outputs of one record, as those of a list of one."""
        if self.bounds is None:
            return RecordOutputs({name: array[index : index + 1] for name, array in self.arrays.items()}, None)
        bounds = self.bounds[index : index + 2] - self.bounds[index]
        return RecordOutputs(self.of(index), bounds)


def plan_inputs(signature: Signature, mapped: Mapping[str, Sequence[str]], schema: RecordSchema) -> InputMapping:
    """Finds the fields that fill each input of the signature.

    Raises:
      MappingError: when an input is neither a field nor mapped, or a mapped field or input does not exist.
    """
    for name in mapped:
        if name not in signature.inputs:
            known = ", ".join(sorted(signature.inputs))
            raise MappingError(
                f"the descriptor maps input {name!r}, which signature {signature.name!r} has not: {known}"
            )
    columns = tuple(_plan_input(spec, tuple(mapped.get(name, ())), schema) for name, spec in signature.inputs.items())
    mapping = InputMapping(columns)
    if mapping.exploded and any(column.kind in ("vector", "fields") for column in columns):
        raise MappingError(
            f"signature {signature.name!r}: an array field that gives a row an item cannot stand beside a vector input"
        )
    return mapping


def _plan_input(spec: TensorSpec, mapped: tuple[str, ...], schema: RecordSchema) -> InputColumn:
    fields = mapped or ((spec.name,) if spec.name in schema.fields else ())
    if not fields:
        wanted = "" if spec.shape is None else f" {_shape_text(spec)}"
        scalars = ",".join(name for name, kind in schema.fields.items() if _is_number(kind))
        raise MappingError(
            f"model input {spec.name!r}{wanted} is no field of {schema.name!r} records and the descriptor maps no "
            f"field to it; publish with --input {spec.name}=FIELD[,FIELD...], for example --input {spec.name}={scalars}"
        )
    for field in fields:
        if field not in schema.fields:
            raise MappingError(f"model input {spec.name!r}: {schema.name!r} records have no field {field!r}")
        if spec.dtype != np.dtype(object) and _is_text(schema.fields[field]):
            raise MappingError(f"model input {spec.name!r} takes {spec.dtype}, but field {field!r} holds text")
    column = InputColumn(spec, fields, _kind(spec, fields, schema))
    _check_width(column, schema)
    return column


def _kind(spec: TensorSpec, fields: tuple[str, ...], schema: RecordSchema) -> Kind:
    if len(fields) > 1:
        return "fields"
    if not _is_array(schema.fields[fields[0]]):
        return "scalar"
    one_a_row = spec.shape is None or len(spec.shape) == 1 or (len(spec.shape) == 2 and spec.shape[1] == 1)
    return "items" if one_a_row else "vector"


def _check_width(column: InputColumn, schema: RecordSchema) -> None:
    spec, fields = column.spec, column.fields
    if column.kind == "fields" and any(_is_array(schema.fields[field]) for field in fields):
        raise MappingError(f"model input {spec.name!r}: a list of fields may hold no array field: {', '.join(fields)}")
    if column.kind in ("vector", "items") or spec.shape is None:
        return
    width = 1
    for size in spec.shape[1:]:
        width *= len(fields) if size is None else size
    if width != len(fields):
        raise MappingError(
            f"model input {spec.name!r} {_shape_text(spec)} takes {width} values a record, but {len(fields)} "
            f"fields are given: {', '.join(fields)}"
        )


def to_model_inputs(mapping: InputMapping, rows: Sequence[Row]) -> ModelInputs:
    """Fills the inputs of a model from a list of records, column by column.

    Null is NaN for a float input and no item for an array field.

    Raises:
      FieldValueError: when a value does not fit its input; it names the field, not the record: score the records
        one by one to find out which.
    """
    bounds = _bounds(mapping, rows) if mapping.exploded else None
    count = len(rows) if bounds is None else int(bounds[-1])
    arrays = {column.spec.name: _fill(column, rows, bounds, count) for column in mapping.columns}
    return ModelInputs(arrays, bounds, count)


def _bounds(mapping: InputMapping, rows: Sequence[Row]) -> npt.NDArray[np.int64]:
    fields = [column.fields[0] for column in mapping.columns if column.kind == "items"]
    lengths = np.fromiter((len(row[fields[0]] or ()) for row in rows), np.int64, len(rows))
    for field in fields[1:]:
        others = np.fromiter((len(row[field] or ()) for row in rows), np.int64, len(rows))
        if not np.array_equal(lengths, others):
            raise FieldValueError(f"the array fields {fields[0]!r} and {field!r} of a record differ in length")
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def _fill(column: InputColumn, rows: Sequence[Row], bounds: npt.NDArray[np.int64] | None, count: int) -> Array:
    spec, fields = column.spec, column.fields
    values: Sequence[Any]
    if column.kind == "fields":
        values = [[row[field] for field in fields] for row in rows]
        array = _array(spec, fields, values, (len(rows), len(fields)))
    elif column.kind == "vector":
        values = [row[fields[0]] or () for row in rows]
        width = len(values[0]) if values else 0
        if any(len(value) != width for value in values):
            raise FieldValueError(f"field {fields[0]!r}: arrays of different lengths cannot fill input {spec.name!r}")
        array = _array(spec, fields, values, (len(rows), width))
    elif column.kind == "items":
        values = list(chain.from_iterable(row[fields[0]] or () for row in rows))
        array = _array(spec, fields, values, (count,))
    else:
        array = _array(spec, fields, [row[fields[0]] for row in rows], (len(rows),))
        if bounds is not None:
            array = np.repeat(array, np.diff(bounds))
    return _shaped(spec, fields, array, count)


def _array(spec: TensorSpec, fields: tuple[str, ...], values: Sequence[Any], shape: tuple[int, ...]) -> Array:
    try:
        if spec.dtype == np.dtype(object):
            return _text_array(values, shape)
        if np.issubdtype(spec.dtype, np.inexact):  # None becomes NaN
            return np.array(values, spec.dtype).reshape(shape)
        return _whole_array(spec, values).reshape(shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise FieldValueError(
            f"model input {spec.name!r} ({spec.dtype}) from {', '.join(fields)}: {type(error).__name__}: {error}"
        ) from error


def _whole_array(spec: TensorSpec, values: Sequence[Any]) -> Array:
    """Integers and booleans as they are; numpy alone would cut 1.5 to 1 and take text for a truth value."""
    array = np.array(values)
    if array.size == 0:
        return array.astype(spec.dtype)
    if array.dtype.kind not in ("b" if spec.dtype.kind == "b" else "biu"):
        raise TypeError(f"{array.dtype} values cannot fill it")
    if array.dtype.kind == "b":
        return array.astype(spec.dtype)
    return np.array(values, spec.dtype)  # raises OverflowError for what does not fit


def _text_array(values: Sequence[Any], shape: tuple[int, ...]) -> Array:
    flat = values if len(shape) == 1 else list(chain.from_iterable(values))
    array = np.empty(len(flat), object)
    for index, value in enumerate(flat):
        if isinstance(value, str):
            value = value.encode()
        if not isinstance(value, bytes):
            raise TypeError(f"{type(value).__name__} is no text")
        array[index] = value
    return array.reshape(shape)


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


def select_outputs(outputs: Mapping[str, Array], wanted: Mapping[str, str], inputs: ModelInputs) -> RecordOutputs:
    """The outputs of a call by the names that the result wants, ready to be cut back to their records.

    Raises:
      ScoringError: when a wanted output is missing, or has not one row a row that went in.
    """
    arrays = {}
    for name, source in (wanted or {name: name for name in outputs}).items():
        if source not in outputs:
            raise ScoringError(f"the model gave no output {source!r}; it gave {', '.join(sorted(outputs)) or 'none'}")
        array = outputs[source]
        if array.ndim == 0 or array.shape[0] != inputs.rows:
            raise ScoringError(f"output {source!r} has shape {list(array.shape)}, but {inputs.rows} rows were scored")
        arrays[name] = _writable(source, array)
    return RecordOutputs(arrays, inputs.bounds)


def _writable(name: str, array: Array) -> Array:
    """The output in a dtype that a result can hold."""
    if array.dtype.kind == "V":  # bfloat16 and its like
        return array.astype(np.float32)
    if array.dtype == np.uint64 and array.size and int(array.max()) >= 1 << 63:
        raise ScoringError(f"output {name!r} holds {int(array.max())}, which does not fit 64 bits with a sign")
    if array.dtype.kind not in "fiubOSU":
        raise ScoringError(f"output {name!r} has dtype {array.dtype}, which a result cannot hold")
    return array


def no_outputs(mapping: InputMapping, signature: Signature, wanted: Mapping[str, str], records: int) -> RecordOutputs:
    """The outputs of records without a row: empty arrays, for which the model need not be asked."""
    arrays: dict[str, Array] = {}
    for name, source in (wanted or {name: name for name in signature.outputs}).items():
        spec = signature.outputs.get(source)
        tail = () if spec is None or spec.shape is None else tuple(size or 0 for size in spec.shape[1:])
        arrays[name] = np.empty((0, *tail), np.float32 if spec is None else spec.dtype)
    return RecordOutputs(arrays, np.zeros(records + 1, np.int64) if mapping.exploded else None)


def _branches(kind: Any) -> Iterator[Any]:
    yield from kind if isinstance(kind, list) else [kind]


def _is_array(kind: Any) -> bool:
    return any(isinstance(branch, dict) and branch.get("type") == "array" for branch in _branches(kind))


def _is_text(kind: Any) -> bool:
    names = {branch.get("type") if isinstance(branch, dict) else branch for branch in _branches(kind)} - {"null"}
    return bool(names) and names <= {"string", "bytes", "fixed", "enum"}


def _is_number(kind: Any) -> bool:
    names = (branch.get("type") if isinstance(branch, dict) else branch for branch in _branches(kind))
    return any(name in ("int", "long", "float", "double") for name in names)


def _shape_text(spec: TensorSpec) -> str:
    return "[" + ", ".join("n" if size is None else str(size) for size in spec.shape or ()) + "]"
