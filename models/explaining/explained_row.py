"""The row of a model's inputs that is explained, its values by name, and the rows that stand in for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.columns.mapping import InputColumn, InputMapping, to_model_inputs
from models.errors import FieldValueError
from models.explaining.attribution import InputAttribution
from models.tensors import Array

MOST_ELEMENTS = 128
"""The number of values up to which an input's row is taken apart; a longer one, such as a picture, is one feature."""

Rows = Mapping[str, Array]
"""Rows of a model's inputs, by name."""


@dataclass(frozen=True)
class Feature:
    """A value of a model's input that contributes to the answer.

    Attributes:
      input: the name of the input.
      element: the place of the value in the input's row; None for the whole row.
      name: the field of the record that fills it, with the place if it is an array.
    """

    input: str
    element: tuple[int, ...] | None
    name: str

    def value_in(self, row: Rows) -> Any:
        """The value in a single row; None for a whole row of several values."""
        return None if self.element is None else row[self.input][(0, *self.element)]

    def attributed(self, row: Rows, attribution: float) -> InputAttribution:
        """The contribution of the value in a single row."""
        return InputAttribution(self.input, self.element, self.name, self.value_in(row), float(attribution))


def features_of(mapping: InputMapping, row: Rows, item: int | None) -> list[Feature]:
    """The features of a single row, in the order of the inputs.

    Args:
      mapping: how records fill the inputs.
      row: the inputs, each with one row.
      item: the item of the record's array fields that the row is for; None if a record has one row.
    """
    return [feature for column in mapping.columns for feature in _features(column, row[column.spec.name][0], item)]


def _features(column: InputColumn, values: Any, item: int | None) -> Iterator[Feature]:
    shape, size = np.shape(values), int(np.size(values))
    name, fields = column.spec.name, column.fields
    if column.kind == "items":
        yield Feature(name, (0,) * len(shape), f"{fields[0]}[{item}]")
    elif size > MOST_ELEMENTS:
        yield Feature(name, None, ", ".join(fields))
    else:
        for place, element in enumerate(np.ndindex(shape)):
            if column.kind == "fields":
                yield Feature(name, element, fields[place])
            else:
                yield Feature(name, element, fields[0] if size == 1 else f"{fields[0]}[{place}]")


def composed(row: Rows, background: Rows, features: Sequence[Feature], present: npt.NDArray[np.bool_]) -> Rows:
    """Rows in which some features have the record's values and all others those of background rows.

    Args:
      row: the record's inputs, each with one row.
      background: the same inputs, with one row or more.
      features: the features of the row.
      present: bool [masks, features]: the features that have the record's values.

    Returns:
      The inputs with masks x background rows: each mask with all background rows, one mask after the other.
    """
    masks, count = len(present), next(len(values) for values in background.values())
    rows = {name: np.tile(values, (masks, *(1,) * (values.ndim - 1))) for name, values in background.items()}
    for number, feature in enumerate(features):
        chosen = np.flatnonzero(np.repeat(present[:, number], count))
        if feature.element is None:
            rows[feature.input][chosen] = row[feature.input]
        else:
            place: Any = (chosen, *feature.element)
            rows[feature.input][place] = feature.value_in(row)
    return rows


def differing(row: Rows, background: Rows, feature: Feature) -> bool:
    """Whether any background row has another value than the record, so that the feature can contribute at all."""
    values = background[feature.input]
    if feature.element is None:
        return bool((values != row[feature.input]).any())
    place: Any = (slice(None), *feature.element)
    return bool((values[place] != feature.value_in(row)).any())


def background_rows(mapping: InputMapping, records: pa.RecordBatch | None, row: Rows, most: int) -> Rows | None:
    """The inputs of records that stand in for a record; None if no record has inputs of the same shapes.

    Of a record with several rows, the one in the middle counts.

    Args:
      mapping: how records fill the inputs.
      records: the records; None if there are none.
      row: the inputs of the record that is explained, with one row each.
      most: the largest number of rows.
    """
    found = [] if records is None else list(_fitting(mapping, records, row))[-most:]
    if not found:
        return None
    return {name: np.concatenate([one[name] for one in found]) for name in row}


def _fitting(mapping: InputMapping, records: pa.RecordBatch, row: Rows) -> Iterator[Rows]:
    for place in range(records.num_rows):
        try:
            inputs = to_model_inputs(mapping, records.slice(place, 1))
        except FieldValueError:
            continue
        middle = inputs.rows // 2
        one = {name: values[middle : middle + 1] for name, values in inputs.arrays.items()}
        if all(one[name].shape == values.shape for name, values in row.items()):
            yield one


def nothing_like(row: Rows, samples: Mapping[str, bytes]) -> Rows:
    """A row of zeros and empty texts, in the shape of another one.

    Args:
      row: the other row.
      samples: values for inputs that reject an empty text.
    """
    empty = {}
    for name, values in row.items():
        if values.dtype == object:
            empty[name] = np.empty(values.shape, object)
            empty[name].fill(samples.get(name, b""))
        else:
            empty[name] = np.zeros(values.shape, values.dtype)
    return empty
