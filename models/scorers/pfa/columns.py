"""Columns: one value per row, of any type, in numpy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from models.errors import ScoringError
from models.scorers.pfa.avro_types import BOOLEAN, DOUBLE, FLOAT, INT, LONG, NULL, Array, Map, Record, Type, Union

Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]

MOST_ITEMS = 50_000_000


@dataclass(frozen=True)
class Nulls:
    """Null in each row."""

    rows: int

    def take(self, places: Places) -> Nulls:
        """The values of some rows."""
        return Nulls(len(places))


@dataclass(frozen=True)
class Scalars:
    """Booleans, numbers or texts: bool, int64, float32, float64 or object (str), [rows]."""

    values: npt.NDArray[Any]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.values)

    def take(self, places: Places) -> Scalars:
        """The values of some rows."""
        return Scalars(self.values.take(places))


@dataclass(frozen=True)
class Lists:
    """Arrays: the length of each row's array, and the items of all arrays in sequence."""

    lengths: npt.NDArray[np.int64]
    items: Column

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.lengths)

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """Where the items of each row begin: [rows]."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def owners(self) -> Places:
        """The row of each item: [items]."""
        return np.repeat(np.arange(self.rows), self.lengths)

    @cached_property
    def positions(self) -> Places:
        """The place of each item in its row: [items]."""
        return np.arange(self.items.rows) - np.repeat(self.starts, self.lengths)

    @cached_property
    def width(self) -> int | None:
        """The length that all arrays have; None if their lengths differ, or there are no rows."""
        first = int(self.lengths[0]) if self.rows else None
        return first if (self.lengths == first).all() else None

    def take(self, places: Places) -> Lists:
        """The values of some rows."""
        if self.width is None or not isinstance(self.items, Scalars):
            return self.slices(self.starts[places], self.lengths[places])
        check_items(len(places) * self.width)
        # Whole arrays are copied in less than a tenth of the time that their items take one by one.
        rows = self.items.values.reshape(self.rows, self.width).take(places, axis=0)
        return Lists(np.full(len(places), self.width, np.int64), Scalars(rows.ravel()))

    def slices(self, starts: Any, lengths: Any) -> Lists:
        """Arrays given by the place of their first item among all items, and by their length."""
        check_items(int(lengths.sum()))
        if len(lengths) and (lengths == lengths[0]).all():  # at a third of the cost
            gathered = (starts[:, None] + np.arange(lengths[0])).ravel()
        else:
            offsets = np.cumsum(lengths) - lengths
            gathered = np.repeat(starts - offsets, lengths) + np.arange(int(lengths.sum()))
        return Lists(np.asarray(lengths, np.int64), self.items.take(gathered))


@dataclass(frozen=True)
class Fields:
    """Records or maps, by the names of their fields or keys."""

    rows: int
    columns: Mapping[str, Column]

    def take(self, places: Places) -> Fields:
        """The values of some rows."""
        return Fields(len(places), {name: column.take(places) for name, column in self.columns.items()})


@dataclass(frozen=True)
class Tagged:
    """Values of a union: the member of each row, and one column per member, with arbitrary values in other rows."""

    tags: npt.NDArray[np.int64]
    members: tuple[Column, ...]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.tags)

    def take(self, places: Places) -> Tagged:
        """The values of some rows."""
        return Tagged(self.tags[places], tuple(member.take(places) for member in self.members))


Column: TypeAlias = Nulls | Scalars | Lists | Fields | Tagged


def check_items(count: int) -> None:
    """Raises ScoringError if there are more items than the arrays of one call may have."""
    if count > MOST_ITEMS:
        raise ScoringError(f"the arrays of one call would have {count} items; the limit is {MOST_ITEMS}")


def dtype_of(scalar: Type) -> np.dtype[Any]:
    """The dtype of a column of scalars."""
    dtypes: dict[Type, Any] = {BOOLEAN: np.bool_, INT: np.int64, LONG: np.int64, FLOAT: np.float32, DOUBLE: np.float64}
    dtype: np.dtype[Any] = np.dtype(dtypes.get(scalar, np.object_))
    return dtype


def concatenated(columns: Sequence[Column]) -> Column:
    """The rows of several columns of the same type, in sequence."""
    first = columns[0]
    if len(columns) == 1:
        return first
    if isinstance(first, Scalars):
        return Scalars(np.concatenate([one.values for one in columns if isinstance(one, Scalars)]))
    if isinstance(first, Lists):
        lists = [one for one in columns if isinstance(one, Lists)]
        return Lists(np.concatenate([one.lengths for one in lists]), concatenated([one.items for one in lists]))
    if isinstance(first, Fields):
        fields = [one for one in columns if isinstance(one, Fields)]
        parts = {name: concatenated([one.columns[name] for one in fields]) for name in first.columns}
        return Fields(sum(one.rows for one in columns), parts)
    if isinstance(first, Tagged):
        tagged = [one for one in columns if isinstance(one, Tagged)]
        members = tuple(concatenated(parts) for parts in zip(*(one.members for one in tagged), strict=True))
        return Tagged(np.concatenate([one.tags for one in tagged]), members)
    return Nulls(sum(one.rows for one in columns))


def merged(parts: Sequence[tuple[Places, Column]]) -> Column:
    """Joins columns that each hold some of the rows, given with the places of these rows; each row occurs once."""
    if len(parts) == 1:
        return parts[0][1]
    order = np.concatenate([places for places, _ in parts])
    inverse = np.empty(len(order), np.intp)
    inverse[order] = np.arange(len(order))
    return concatenated([column for _, column in parts]).take(inverse)


def filler(wanted: Type, rows: int) -> Column:
    """A column of a type whose values are never used."""
    if wanted == NULL:
        return Nulls(rows)
    if isinstance(wanted, Array):
        return Lists(np.zeros(rows, np.int64), filler(wanted.items, 0))
    if isinstance(wanted, Map):
        return Fields(rows, {key: filler(wanted.values, rows) for key in wanted.keys or ()})
    if isinstance(wanted, Record):
        return Fields(rows, {name: filler(inner, rows) for name, inner in wanted.fields.items()})
    if isinstance(wanted, Union):
        return Tagged(np.zeros(rows, np.int64), tuple(filler(member, rows) for member in wanted.members))
    dtype = dtype_of(wanted)
    return Scalars(np.full(rows, "", object) if dtype.kind == "O" else np.zeros(rows, dtype))


def repeated(column: Column, rows: int) -> Column:
    """The only row of a column, repeated."""
    return column.take(np.zeros(rows, np.intp))
