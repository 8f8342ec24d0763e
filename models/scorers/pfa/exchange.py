"""Converts the arrays of scorers to the columns of a document, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.errors import ModelLoadError, ScoringError
from models.scorers.pfa.avro_types import (
    BOOLEAN,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    NULL,
    NUMBERS,
    STRING,
    Array,
    Enum,
    Map,
    Record,
    Type,
    Union,
    is_nullable,
    without_null,
)
from models.scorers.pfa.columns import Column, Fields, Lists, Nulls, Scalars, Tagged, dtype_of
from models.scorers.pfa.conditions import null_rows
from models.scorers.pfa.document import Document
from models.tensors import Array as Tensor
from models.tensors import Signature, TensorSpec

SIGNATURE = "action"
_DTYPES: dict[Type, Any] = {BOOLEAN: np.bool_, INT: np.int32, LONG: np.int64, FLOAT: np.float32, DOUBLE: np.float64}


@dataclass(frozen=True)
class Exchange:
    """A document that takes and returns the arrays of scorers.

    Attributes:
      document: the document that computes.
      inputs: the types of the inputs by name.
      results: the types of the outputs by name.
      signature: the same inputs and outputs with dtypes and shapes.
    """

    document: Document
    inputs: Mapping[str, Type]
    results: Mapping[str, Type]
    signature: Signature

    @classmethod
    def of(cls, document: Document) -> Exchange:
        """The exchange of a document; raises ModelLoadError if records cannot have the type of an input or output."""
        inputs = _parts(document.input_type, "input")
        results = _parts(document.output.type, "output")
        specs = [
            {
                name: _spec(f"{what} {name!r}", name, kind, document.widths.get(name) if what == "input" else None)
                for name, kind in parts.items()
            }
            for what, parts in (("input", inputs), ("output", results))
        ]
        return cls(document, inputs, results, Signature(SIGNATURE, *specs))

    def outputs(self, inputs: Mapping[str, Tensor], rows: int) -> dict[str, Tensor]:
        """Scores rows; raises ScoringError if PFA has an error, or a value does not have the type of its input."""
        columns = {name: _column(name, kind, inputs[name], rows) for name, kind in self.inputs.items()}
        is_record = isinstance(self.document.input_type, Record)
        result = self.document.score(Fields(rows, columns) if is_record else columns["input"], rows)
        parts = result.columns if isinstance(result, Fields) else {"output": result}
        return {name: _array(name, kind, parts[name]) for name, kind in self.results.items()}


def _parts(kind: Type, otherwise: str) -> Mapping[str, Type]:
    if isinstance(kind, Record):
        parts = kind.fields
    elif isinstance(kind, Map) and otherwise == "output" and kind.keys:
        parts = dict.fromkeys(kind.keys, kind.values)
    else:
        parts = {otherwise: kind}
    if not parts:
        raise ModelLoadError(f"{otherwise}: the type {kind} has no fields")
    return parts


def _spec(what: str, name: str, kind: Type, width: int | None) -> TensorSpec:
    inner = kind.items if isinstance(kind, Array) else kind
    nullable = is_nullable(inner) and isinstance(inner, Union)
    scalar = without_null(inner) if nullable and isinstance(inner, Union) else inner
    if (scalar not in _DTYPES and scalar != STRING and not isinstance(scalar, Enum)) or (
        nullable and (scalar == BOOLEAN or isinstance(kind, Array))
    ):
        raise ModelLoadError(
            f"{what}: the type {kind} is not supported there; supported are booleans, numbers, texts and enums, arrays "
            "of them, and unions of null with a number, text or enum"
        )
    dtype: np.dtype[Any] = np.dtype(_DTYPES.get(scalar, np.object_))
    if nullable and scalar in NUMBERS:
        dtype = np.dtype(np.float32 if scalar == FLOAT else np.float64)  # for which NaN stands for null
    return TensorSpec(name, dtype, (None, width) if isinstance(kind, Array) else (None,))


def _column(name: str, kind: Type, values: Tensor, rows: int) -> Column:
    if isinstance(kind, Array):
        flat = _column(name, kind.items, values.ravel(), values.size)
        return Lists(np.full(rows, values.shape[1], np.int64), flat)
    if not isinstance(kind, Union):
        return Scalars(_scalars(name, kind, values))
    scalar, null = without_null(kind), kind.members.index(NULL)
    if scalar in NUMBERS:
        missing = np.isnan(_numbers(name, values).astype(np.float64))
        column = Scalars(_scalars(name, scalar, np.where(missing, 0, values)))
    else:
        missing = np.array([one in (b"", "") for one in values.tolist()], bool)
        column = Scalars(_scalars(name, scalar, values, missing))
    members: list[Column] = [column, column]
    members[null] = Nulls(rows)
    return Tagged(np.where(missing, null, 1 - null), tuple(members))


def _numbers(name: str, values: Tensor) -> Tensor:
    if values.dtype.kind not in "biuf":
        raise ScoringError(f"input {name!r} holds {values.dtype}, but numbers are expected")
    return values


def _scalars(name: str, kind: Type, values: Tensor, missing: Any = None) -> Any:
    if kind in _DTYPES:
        numbers = _numbers(name, values)
        if kind in (INT, LONG) and numbers.dtype.kind == "f" and (numbers != np.floor(numbers)).any():
            raise ScoringError(f"input {name!r} holds a number that is not an integer")
        return numbers.astype(dtype_of(kind))
    texts = np.empty(len(values), object)
    try:
        texts[:] = [value.decode() for value in values.tolist()]
    except (UnicodeDecodeError, AttributeError) as error:
        raise ScoringError(f"input {name!r} holds a text that is not UTF-8: {error}") from error
    if isinstance(kind, Enum):
        known = set(kind.symbols)
        wrong = [
            text for place, text in enumerate(texts) if text not in known and (missing is None or not missing[place])
        ]
        if wrong:
            raise ScoringError(f"input {name!r}: {wrong[0][:100]!r} is not one of the symbols of {kind}")
    return texts


def _array(name: str, kind: Type, column: Column) -> Tensor:
    if isinstance(column, Lists) and isinstance(kind, Array):
        lengths = set(column.lengths.tolist())
        if len(lengths) > 1:
            raise ScoringError(f"output {name!r}: the arrays of a batch have different lengths: {sorted(lengths)[:5]}")
        return _array(name, kind.items, column.items).reshape(column.rows, lengths.pop() if lengths else 0)
    if isinstance(column, Tagged) and isinstance(kind, Union):
        return _nullable(name, kind, column)
    if not isinstance(column, Scalars):
        raise ScoringError(f"output {name!r} has no values")
    if column.values.dtype != object:
        return column.values.astype(_DTYPES[kind])
    texts = np.empty(column.rows, object)
    texts[:] = [value.encode("utf-8", "surrogatepass") for value in column.values.tolist()]
    return texts


def _nullable(name: str, kind: Union, column: Tagged) -> Tensor:
    scalar, missing = without_null(kind), null_rows(column, kind)
    values = _array(name, scalar, column.members[1 - kind.members.index(NULL)])
    if values.dtype != object and scalar != FLOAT:
        values = values.astype(np.float64)
    values = values.copy()
    values[missing] = b"" if values.dtype == object else np.nan
    return values
