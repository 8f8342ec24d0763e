"""From the columns and outputs of answered records to the values that are sketched, one for each record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.columns.agreement import kind_of
from models.columns.field_values import is_number, values_of
from models.columns.outputs import RecordOutputs, flat_rows
from models.observing.confidence import class_confidences
from models.observing.drift.profile import FieldKey, Values
from models.records.codecs.base import sample_of
from models.tensors import Array

_FLOAT64 = np.dtype(np.float64)


def feature_values(columns: pa.RecordBatch, features: Sequence[str]) -> Iterator[tuple[FieldKey, Values]]:
    """The values of the fields that fill a model's inputs.

    Fields with numbers, booleans and texts have values; of an array, each record contributes one item, because the
    items of a record are not independent of each other. A model that takes whole messages has all fields as features.

    Args:
      columns: the records.
      features: the names of the fields.
    """
    names = list(dict.fromkeys(name for one in features for name in _spread(columns.schema, one)))
    for name in names:
        values = _column_values(columns.column(name))
        if values is not None:
            yield FieldKey("feature", name), values


def _spread(schema: pa.Schema, name: str) -> list[str]:
    if name not in schema.names:
        return []
    whole = sample_of(schema.field(name)) is not None
    return [one for one in schema.names if one != name] if whole else [name]


def _column_values(column: pa.Array) -> Values | None:
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = _one_item_each(column)
    kind = column.type
    if pa.types.is_union(kind):
        return None
    if is_number(kind):
        numbers: Any = values_of(column, _FLOAT64)
        return numbers if len(numbers) else None
    if pa.types.is_boolean(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts: list[str | None] = column.cast(pa.string()).to_pylist()
        return texts
    if pa.types.is_dictionary(kind):
        return _column_values(column.dictionary_decode())
    return None


def _one_item_each(column: pa.ListArray) -> pa.Array:
    """One item of each list, by turns the first, the second, ...; null for an empty list."""
    lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    starts = column.offsets.to_numpy()[:-1].astype(np.int64)
    places = starts + np.arange(len(column)) % np.maximum(lengths, 1)
    return column.values.take(pa.array(places, mask=lengths == 0))


def output_values(outputs: RecordOutputs) -> Iterator[tuple[FieldKey, Values]]:
    """The values of the outputs.

    Class scores become a category, which is the index of the highest score, and a confidence, which is that score. They
    need not be probabilities, because an output is only compared with itself.
    Other outputs have values if they are single numbers, booleans or texts; of records with several rows, each
    contributes one row.
    """
    for name, array in outputs.arrays.items():
        found, missing = _one_row_each(flat_rows(array), outputs)
        if found.shape[1] > 1:
            if kind_of(array) == "class scores":
                yield from _class_values(name, found.astype(np.float64), missing)
        elif found.shape[1] == 1:
            yield FieldKey("output", name), _single_values(found[:, 0], missing)


def _one_row_each(rows: Array, outputs: RecordOutputs) -> tuple[Array, Array]:
    """One row of each record, and whether a record has none: bool [records]."""
    if outputs.bounds is None:
        return rows, np.zeros(len(rows), np.bool_)
    lengths = np.diff(outputs.bounds)
    missing = lengths == 0
    places = outputs.bounds[:-1] + np.arange(len(lengths)) % np.maximum(lengths, 1)
    known = rows if len(rows) else np.zeros((1, rows.shape[1]), rows.dtype)
    return known[np.where(missing, 0, places)], missing


def _class_values(name: str, scores: Any, missing: Any) -> Iterator[tuple[FieldKey, Values]]:
    sure = np.where(missing, np.nan, class_confidences(scores))
    highest = zip(scores.argmax(axis=1).tolist(), np.isnan(sure).tolist(), strict=True)
    yield FieldKey("output", name), [None if unknown else str(one) for one, unknown in highest]
    yield FieldKey("confidence", name), sure


def _single_values(values: Array, missing: Any) -> Values:
    if values.dtype.kind in "fiu":
        return np.where(missing, np.nan, values.astype(np.float64))
    return [None if no else _text(one) for one, no in zip(values.tolist(), missing.tolist(), strict=True)]


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value).lower() if isinstance(value, bool) else str(value)
