"""Expressions that map values to others: normalization, intervals and tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from models.scorers.pmml.columns import (
    DATA_TYPES,
    DOUBLE,
    STRING,
    Column,
    Expression,
    Floats,
    Frame,
    Scope,
    Value,
    constant,
    filled,
    literal,
)
from models.scorers.pmml.elements import Element
from models.scorers.pmml.fields import Interval, read_interval


@dataclass(frozen=True)
class Line:
    """Straight lines between points, as in NormContinuous.

    Attributes:
      before: the input values of the points, strictly increasing.
      after: the output values of the points.
      outliers: the treatment of values beyond the points.
    """

    before: tuple[float, ...]
    after: tuple[float, ...]
    outliers: str = "asIs"

    def mapped(self, values: Floats) -> Floats:
        """The output values; NaN for NaN."""
        before, after = np.array(self.before), np.array(self.after)
        place = np.clip(np.searchsorted(before, values, side="right") - 1, 0, len(before) - 2)
        share = (values - before[place]) / (before[place + 1] - before[place])
        result = after[place] + share * (after[place + 1] - after[place])
        low, high = values < before[0], values > before[-1]
        if self.outliers == "asMissingValues":
            result[low | high] = np.nan
        elif self.outliers == "asExtremeValues":
            result[low], result[high] = after[0], after[-1]
        return np.asarray(result, np.float64)


@dataclass(frozen=True)
class NormContinuous:
    """A numeric field, mapped by lines."""

    field: str
    line: Line
    if_missing: float | None
    data_type: str = DOUBLE

    def evaluate(self, frame: Frame) -> Column:
        """The values for all rows."""
        return filled(Column(self.line.mapped(frame.column(self.field).values)), self.if_missing)


@dataclass(frozen=True)
class NormDiscrete:
    """1 if a field has a value, otherwise 0."""

    field: str
    value: Value
    if_missing: float | None
    data_type: str = DOUBLE

    def evaluate(self, frame: Frame) -> Column:
        """The values for all rows."""
        column = frame.column(self.field)
        result = np.asarray(column.values == self.value, np.float64)
        result[column.missing()] = np.nan
        return filled(Column(result), self.if_missing)


@dataclass(frozen=True)
class Discretize:
    """The value of the first interval that contains a number."""

    data_type: str
    field: str
    bins: tuple[tuple[Interval, Value], ...]
    if_missing: Value | None
    default: Value | None

    def evaluate(self, frame: Frame) -> Column:
        """The values for all rows."""
        column = frame.column(self.field)
        values = constant(self.default, frame.rows, self.data_type == STRING).values
        for interval, value in reversed(self.bins):  # so that the first one wins
            values[interval.contains(column.values)] = value
        missing = column.missing()
        values[missing] = constant(self.if_missing, int(missing.sum()), self.data_type == STRING).values
        return Column(values)


@dataclass(frozen=True)
class MapValues:
    """The value that a table has for the values of several fields."""

    data_type: str
    fields: tuple[str, ...]
    table: Mapping[tuple[Value, ...], Value]
    if_missing: Value | None
    default: Value | None

    def evaluate(self, frame: Frame) -> Column:
        """The values for all rows."""
        columns = [frame.column(field) for field in self.fields]
        values = constant(self.default, frame.rows, self.data_type == STRING).values
        for place, row in enumerate(zip(*(column.values.tolist() for column in columns), strict=True)):
            values[place] = self.table.get(row, values[place])
        missing = np.any([column.missing() for column in columns], axis=0)
        values[missing] = constant(self.if_missing, int(missing.sum()), self.data_type == STRING).values
        return Column(values)


def _optional(element: Element, name: str, data_type: str) -> Value | None:
    text = element.get(name)
    return None if text is None else literal(text, data_type, element)


def read_line(element: Element) -> Line:
    """The lines of a NormContinuous."""
    element.check("field outliers mapMissingTo", "LinearNorm")
    points = []
    for child in element.children:
        child.check("orig norm")
        points.append((child.number("orig"), child.number("norm")))
    before = tuple(one for one, _ in points)
    if len(points) < 2 or any(one >= other for one, other in pairwise(before)):
        element.refuse("it needs at least two LinearNorm, with growing orig")
    outliers = element.choice("outliers", "asIs asMissingValues asExtremeValues", "asIs")
    return Line(before, tuple(norm for _, norm in points), outliers)


def _read_continuous(element: Element, scope: Scope, _: str | None) -> Expression:
    line = read_line(element)
    substitute = None if element.get("mapMissingTo") is None else element.number("mapMissingTo")
    return NormContinuous(scope.number(element.need("field"), element), line, substitute)


def _read_discrete(element: Element, scope: Scope, _: str | None) -> Expression:
    element.check("field value mapMissingTo method")
    element.choice("method", "indicator", "indicator")
    field = element.need("field")
    value = literal(element.need("value"), scope.type_of(field, element), element)
    substitute = None if element.get("mapMissingTo") is None else element.number("mapMissingTo")
    return NormDiscrete(field, value, substitute)


def _read_discretize(element: Element, scope: Scope, wanted: str | None) -> Expression:
    element.check("field mapMissingTo defaultValue dataType", "DiscretizeBin")
    field = scope.number(element.need("field"), element)
    data_type = element.choice("dataType", DATA_TYPES, wanted or STRING)
    bins = []
    for child in element.children:
        child.check("binValue", "Interval")
        bins.append((read_interval(child.only("Interval")), literal(child.need("binValue"), data_type, child)))
    substitutes = (_optional(element, name, data_type) for name in ("mapMissingTo", "defaultValue"))
    return Discretize(data_type, field, tuple(bins), *substitutes)


def _cell_name(column: str) -> str:
    """The name of a column without the prefix of a namespace."""
    return column.rpartition(":")[2]


def _read_map(element: Element, scope: Scope, wanted: str | None) -> Expression:
    element.check("mapMissingTo defaultValue outputColumn dataType", "FieldColumnPair InlineTable")
    data_type = element.choice("dataType", DATA_TYPES, wanted or STRING)
    pairs = element.all("FieldColumnPair")
    if not pairs:
        element.refuse("it lacks FieldColumnPair")
    for pair in pairs:
        pair.check("field column")
    types = {_cell_name(pair.need("column")): scope.type_of(pair.need("field"), pair) for pair in pairs}
    output = _cell_name(element.need("outputColumn"))
    table: dict[tuple[Value, ...], Value] = {}
    inline = element.only("InlineTable")
    inline.check("", "row")
    for row in inline.children:
        cells = {cell.tag: cell for cell in row.children}
        for name in (*types, output):
            if name not in cells:
                row.refuse(f"it lacks {name}")
        key = tuple(literal(cells[name].text.strip(), kind, row) for name, kind in types.items())
        table.setdefault(key, literal(cells[output].text.strip(), data_type, row))
    fields = tuple(pair.need("field") for pair in pairs)
    substitutes = (_optional(element, name, data_type) for name in ("mapMissingTo", "defaultValue"))
    return MapValues(data_type, fields, table, *substitutes)


MAPPINGS: dict[str, Callable[[Element, Scope, str | None], Expression]] = {
    "NormContinuous": _read_continuous,
    "NormDiscrete": _read_discrete,
    "Discretize": _read_discretize,
    "MapValues": _read_map,
}
