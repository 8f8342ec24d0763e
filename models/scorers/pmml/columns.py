"""The values that expressions and models compute with: whole columns, and the frame that holds them by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.scorers.pmml.elements import Element

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]

DATA_TYPES = "string integer float double boolean"
STRING, INTEGER, FLOAT, DOUBLE, BOOLEAN = DATA_TYPES.split()
Value = str | float


@dataclass(frozen=True)
class Column:
    """One value for each row.

    Attributes:
      values: float64 [rows] with NaN for a missing value, or for texts object [rows] of str and None. Booleans are
        0 and 1.
    """

    values: npt.NDArray[Any]

    @property
    def is_text(self) -> bool:
        """Whether the values are texts."""
        return bool(self.values.dtype == object)

    def missing(self) -> Bools:
        """Which rows have no value: [rows]."""
        return missing_in(self.values)

    def take(self, places: Places) -> Column:
        """The values of some rows."""
        return Column(self.values[places])


def missing_in(values: npt.NDArray[Any]) -> Bools:
    """Which values are missing: bool [rows]."""
    missing: Bools = (values == None).astype(np.bool_) if values.dtype == object else np.isnan(values)  # noqa: E711
    return missing


def constant(value: Value | None, rows: int, is_text: bool) -> Column:
    """The same value in all rows; None for a missing one."""
    if is_text:
        return Column(np.full(rows, value, object))
    return Column(np.full(rows, np.nan if value is None else value, np.float64))


def filled(column: Column, value: Value | None) -> Column:
    """The column with a value instead of missing ones."""
    missing = column.missing()
    if value is None or not missing.any():
        return column
    values = column.values.copy()
    values[missing] = value
    return Column(values)


def literal(text: str, data_type: str, element: Element) -> Value:
    """Parses a text of the file as a value of that type, rounded to float32 for float.

    Raises:
      ModelLoadError: the text is not such a value.
    """
    if data_type == STRING:
        return text
    if data_type == BOOLEAN:
        if text.lower() not in ("true", "false", "1", "0"):
            element.refuse(f"{text!r} is not a boolean")
        return float(text.lower() in ("true", "1"))
    value = element.as_number(text)
    if data_type == INTEGER and value != int(value):
        element.refuse(f"{text!r} is not a whole number")
    return float(np.float32(value)) if data_type == FLOAT else value


class Expression(Protocol):
    """An expression that evaluates to a column."""

    @property
    def data_type(self) -> str:
        """The type of the values."""

    def evaluate(self, frame: Frame) -> Column:
        """The values for all rows."""


@dataclass(frozen=True)
class Derived:
    """A computed field: its type, and how it is computed."""

    data_type: str
    evaluate: Callable[[Frame], Column]


class Frame:
    """The columns of the rows of one call, by field; derived fields are computed when they are first needed.

    Args:
      rows: the number of rows.
      columns: the columns that are known.
      derived: the fields that can be computed.
      parent: the frame that has all other fields.
      places: the rows of the parent that this frame contains; None for all.
    """

    def __init__(
        self,
        rows: int,
        columns: Mapping[str, Column],
        derived: Mapping[str, Derived] | None = None,
        parent: Frame | None = None,
        places: Places | None = None,
    ) -> None:
        self.rows = rows
        self._columns = dict(columns)
        self._derived = derived or {}
        self._parent = parent
        self._places = places
        self.invalid: Bools = np.zeros(rows, bool)

    def column(self, name: str) -> Column:
        """The column of a field."""
        if name not in self._columns:
            self._columns[name] = self._found(name)
        return self._columns[name]

    def _found(self, name: str) -> Column:
        if name in self._derived:
            return self._derived[name].evaluate(self)
        if self._parent is None:
            raise KeyError(name)
        column = self._parent.column(name)
        if self._parent.invalid.any():  # computing the column may have marked rows of the parent
            self.invalid |= self._parent.invalid if self._places is None else self._parent.invalid[self._places]
        return column if self._places is None else column.take(self._places)

    def subset(self, places: Places) -> Frame:
        """The same fields of some rows."""
        return Frame(len(places), {}, parent=self, places=places)

    def add(self, columns: Mapping[str, Column]) -> None:
        """Adds columns, such as the outputs of a model in a chain."""
        self._columns.update(columns)

    def reject(self, rows: Bools) -> None:
        """Marks rows that have no valid result."""
        self.invalid |= rows


@dataclass(frozen=True)
class Scope:
    """The fields that an element of the file may refer to, by name, with their types."""

    fields: Mapping[str, str]

    def type_of(self, name: str, element: Element) -> str:
        """The data type of a field.

        Raises:
          ModelLoadError: there is no such field.
        """
        if name not in self.fields:
            element.refuse(
                f"field {name!r} is not defined there (in the mining schema, or by an earlier derived field)"
            )
        return self.fields[name]

    def number(self, name: str, element: Element) -> str:
        """The name of a numeric field; raises ModelLoadError when the field is not numeric."""
        if self.type_of(name, element) == STRING:
            element.refuse(f"field {name!r} holds texts, but numbers are needed")
        return name

    def with_fields(self, fields: Mapping[str, str]) -> Scope:
        """A scope that has further fields."""
        return Scope({**self.fields, **fields})
