"""Predicates, evaluated for a whole frame at once: each row is true, false or unknown."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import numpy as np

from models.scorers.pmml.columns import STRING, Bools, Column, Frame, Scope, Value, literal
from models.scorers.pmml.elements import Element
from models.scorers.pmml.fields import among

PREDICATES = ("SimplePredicate", "SimpleSetPredicate", "CompoundPredicate", "True", "False")
PREDICATE_TAGS = " ".join(PREDICATES)

_ORDERS = {
    "lessThan": np.less,
    "lessOrEqual": np.less_equal,
    "greaterThan": np.greater,
    "greaterOrEqual": np.greater_equal,
}


@dataclass(frozen=True)
class Truth:
    """The rows that are true, and the rows that are unknown: bool [rows] each; no row is both."""

    true: Bools
    unknown: Bools


class Predicate(Protocol):
    """A test of each row of a frame."""

    def test(self, frame: Frame) -> Truth:
        """Tests all rows."""


@dataclass(frozen=True)
class Always:
    """True or false, for each row."""

    value: bool

    def test(self, frame: Frame) -> Truth:
        """The same for all rows."""
        return Truth(np.full(frame.rows, self.value), np.zeros(frame.rows, bool))


@dataclass(frozen=True)
class Comparison:
    """A field compared with a value; unknown if the field is missing."""

    field: str
    operator: str
    value: Value

    def test(self, frame: Frame) -> Truth:
        """Compares all rows."""
        column = frame.column(self.field)
        missing = column.missing()
        return Truth(compared(column, self.operator, self.value) & ~missing, missing)


@dataclass(frozen=True)
class Missing:
    """Whether a field is missing, or is not; never unknown."""

    field: str
    wanted: bool

    def test(self, frame: Frame) -> Truth:
        """Tests all rows."""
        missing = frame.column(self.field).missing()
        return Truth(missing == self.wanted, np.zeros(frame.rows, bool))


@dataclass(frozen=True)
class Membership:
    """Whether a field has one of several values, or none of them; unknown if it is missing."""

    field: str
    values: tuple[Value, ...]
    inside: bool

    def test(self, frame: Frame) -> Truth:
        """Tests all rows."""
        column = frame.column(self.field)
        missing = column.missing()
        return Truth((among(column, self.values) == self.inside) & ~missing, missing)


@dataclass(frozen=True)
class Compound:
    """Several predicates, joined by `and`, `or`, `xor` or `surrogate`."""

    operator: str
    parts: tuple[Predicate, ...]

    def test(self, frame: Frame) -> Truth:
        """Tests all rows."""
        truths = [part.test(frame) for part in self.parts]
        return reduce(_JOINS[self.operator], truths)


def compared(column: Column, operator: str, value: Value) -> Bools:
    """Which rows have that relation to a value; the result for missing values is undefined."""
    if operator in _ORDERS:
        return np.asarray(_ORDERS[operator](column.values, float(value)), np.bool_)
    equal = np.asarray(column.values == value, np.bool_)
    return equal if operator == "equal" else ~equal


def _and(one: Truth, other: Truth) -> Truth:
    true = one.true & other.true
    return Truth(true, ~true & (one.true | one.unknown) & (other.true | other.unknown))


def _or(one: Truth, other: Truth) -> Truth:
    true = one.true | other.true
    return Truth(true, ~true & (one.unknown | other.unknown))


def _xor(one: Truth, other: Truth) -> Truth:
    unknown = one.unknown | other.unknown
    return Truth((one.true ^ other.true) & ~unknown, unknown)


def _surrogate(one: Truth, other: Truth) -> Truth:
    return Truth(np.where(one.unknown, other.true, one.true), one.unknown & other.unknown)


_JOINS = {"and": _and, "or": _or, "xor": _xor, "surrogate": _surrogate}


def read_predicate(element: Element, scope: Scope) -> Predicate:
    """Reads a predicate.

    Raises:
      ModelLoadError: it refers to an unknown field, or has an operator that is not supported.
    """
    if element.tag in ("True", "False"):
        element.check()
        return Always(element.tag == "True")
    if element.tag == "CompoundPredicate":
        element.check("booleanOperator", PREDICATE_TAGS)
        operator = element.choice("booleanOperator", "and or xor surrogate")
        if len(element.children) < 2:
            element.refuse("it needs at least two predicates")
        return Compound(operator, tuple(read_predicate(child, scope) for child in element.children))
    if element.tag == "SimpleSetPredicate":
        return _read_set(element, scope)
    return _read_simple(element, scope)


def _read_simple(element: Element, scope: Scope) -> Predicate:
    element.check("field operator value")
    field = element.need("field")
    data_type = scope.type_of(field, element)
    operators = "equal notEqual isMissing isNotMissing " + " ".join(_ORDERS)
    operator = element.choice("operator", operators)
    if operator in ("isMissing", "isNotMissing"):
        return Missing(field, operator == "isMissing")
    if operator in _ORDERS and data_type == STRING:
        element.refuse(f"{operator} is not supported for texts, such as field {field!r}")
    return Comparison(field, operator, literal(element.need("value"), data_type, element))


def _read_set(element: Element, scope: Scope) -> Membership:
    element.check("field booleanOperator", "Array")
    field = element.need("field")
    data_type = scope.type_of(field, element)
    inside = element.choice("booleanOperator", "isIn isNotIn") == "isIn"
    array = element.only("Array")
    return Membership(field, tuple(literal(text, data_type, array) for text in array.texts()), inside)
