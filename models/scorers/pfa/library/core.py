"""Arithmetic, comparisons and logic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from models.scorers.pfa.avro_types import BOOLEAN, DOUBLE, INT, LONG, NUMBERS, STRING, Enum
from models.scorers.pfa.blocks import choice
from models.scorers.pfa.columns import Column, Scalars
from models.scorers.pfa.library.calls import Call, Signature, Site, Wild, of_columns, of_values
from models.scorers.pfa.nodes import Node

_NUMBER = Wild("A", NUMBERS)
_TWO = Signature((_NUMBER, _NUMBER), _NUMBER)
_WHOLE = Signature((Wild("A", (INT, LONG)), Wild("A", (INT, LONG))), Wild("A", (INT, LONG)))
# Integers below this are exact as float64, and so are their sums.
_SAFE = 2.0**62


def arithmetic(call: Callable[[Any, Any], Any]) -> Callable[..., Scalars]:
    """An operation on two numbers of the same type. It is repeated with floats to detect results beyond int64."""

    def compute(site: Site, one: Scalars, other: Scalars) -> Scalars:
        values = call(one.values, other.values)
        if site.gives not in (INT, LONG):
            return Scalars(values)
        near = np.abs(call(one.values.astype(np.float64), other.values.astype(np.float64))) >= _SAFE
        overflown = near.copy()
        for row in np.flatnonzero(near):
            overflown[row] = not -(2**63) <= call(int(one.values[row]), int(other.values[row])) < 2**63
        return site.in_range(values, overflown)

    return compute


def _negative(site: Site, one: Scalars) -> Scalars:
    return site.in_range(-one.values, _smallest(one))


def _smallest(one: Scalars) -> Any:
    """Which numbers are the smallest int64, whose negative int64 cannot hold."""
    if one.values.dtype != np.int64:
        return np.zeros(one.rows, bool)
    return one.values == -(2**63)


def _absolute(site: Site, one: Scalars) -> Scalars:
    return site.in_range(np.abs(one.values), _smallest(one))


def _floor_divided(site: Site, one: Scalars, other: Scalars) -> Scalars:
    """Integer division, rounded towards zero."""
    zero = other.values == 0
    site.fail(zero, "integer division by zero")
    divisor = np.where(zero, 1, other.values)
    floor = one.values // divisor
    inexact = (floor * divisor != one.values) & ((one.values < 0) != (divisor < 0))
    return site.in_range(floor + inexact, _smallest(one) & (divisor == -1))


def _modular(call: Callable[[Any, Any], Any]) -> Callable[..., Scalars]:
    def compute(site: Site, one: Scalars, other: Scalars) -> Scalars:
        if site.gives not in (INT, LONG):
            return Scalars(call(one.values, other.values))
        zero = other.values == 0
        site.fail(zero, "integer division by zero")
        return Scalars(call(one.values, np.where(zero, 1, other.values)))

    return compute


def _power(site: Site, one: Scalars, other: Scalars) -> Scalars:
    if site.gives not in (INT, LONG):
        return Scalars(np.power(one.values, other.values))
    values = np.power(one.values.astype(np.float64), other.values.astype(np.float64))
    beyond = ~(np.abs(values) < 2.0**63)
    return site.in_range(np.where(beyond, 0, values).astype(np.int64), beyond)


_ORDERED = (BOOLEAN, STRING, *NUMBERS)


def _comparison(call: Callable[[Any, Any], Any], ordered: bool) -> Callable[[Call], Node]:
    """A comparison of two values of the same type; enums are only compared for equality."""
    compared = of_values(
        lambda one, other: np.asarray(call(one, other), np.bool_),
        Signature((Wild("A", _ORDERED), Wild("A", _ORDERED)), BOOLEAN),
    )
    same = of_values(lambda one, other: np.asarray(call(one, other), np.bool_), Signature((Wild("A"),) * 2, BOOLEAN))

    def compile_call(one: Call) -> Node:
        one.check_count(2)
        enums = all(isinstance(one.node(place).type, Enum) for place in range(2))
        return same(one) if enums and not ordered else compared(one)

    return compile_call


def _cmp(one: Any, other: Any) -> Any:
    return (one > other).astype(np.int64) - (one < other).astype(np.int64)


def _extreme(call: Callable[[Any, Any], Any]) -> Callable[[Call], Node]:
    kinds = Wild("A", _ORDERED)
    return of_values(
        lambda one, other: np.where(np.asarray(call(one, other), bool), one, other), Signature((kinds, kinds), kinds)
    )


def _lazy(value: bool) -> Callable[[Call], Node]:
    """`and` (False) and `or` (True); rows that the first argument decides do not evaluate the second one."""

    def compile_call(call: Call) -> Node:
        call.check_count(2)
        first, second = call.column_node(0, BOOLEAN), call.column_node(1, BOOLEAN)
        decided = Node(BOOLEAN, lambda frame: Scalars(np.full(frame.rows, value)))
        branches = [decided, second] if value else [second, decided]
        return choice([first], branches, call.element)

    return compile_call


def _divided(site: Site, one: Scalars, other: Scalars) -> Column:
    del site
    return Scalars(one.values / other.values)


_BOOLEANS = Signature((BOOLEAN, BOOLEAN), BOOLEAN)
_BITS = (Signature((INT, INT), INT), Signature((LONG, LONG), LONG))
FUNCTIONS: dict[str, Callable[[Call], Node]] = {
    "+": of_columns(arithmetic(lambda x, y: x + y), _TWO),
    "-": of_columns(arithmetic(lambda x, y: x - y), _TWO),
    "*": of_columns(arithmetic(lambda x, y: x * y), _TWO),
    "/": of_columns(_divided, Signature((DOUBLE, DOUBLE), DOUBLE)),
    "//": of_columns(_floor_divided, _WHOLE),
    "u-": of_columns(_negative, Signature((_NUMBER,), _NUMBER)),
    "m.abs": of_columns(_absolute, Signature((_NUMBER,), _NUMBER)),
    "%": of_columns(_modular(np.mod), _TWO),
    "%%": of_columns(_modular(np.fmod), _TWO),
    "**": of_columns(_power, _TWO),
    "cmp": of_values(_cmp, Signature((_NUMBER, _NUMBER), INT), Signature((STRING, STRING), INT)),
    "==": _comparison(lambda x, y: x == y, ordered=False),
    "!=": _comparison(lambda x, y: x != y, ordered=False),
    "<": _comparison(lambda x, y: x < y, ordered=True),
    "<=": _comparison(lambda x, y: x <= y, ordered=True),
    ">": _comparison(lambda x, y: x > y, ordered=True),
    ">=": _comparison(lambda x, y: x >= y, ordered=True),
    "max": _extreme(lambda x, y: x >= y),
    "min": _extreme(lambda x, y: x < y),
    "&&": _lazy(False),
    "||": _lazy(True),
    "^^": of_values(np.logical_xor, _BOOLEANS),
    "!": of_values(np.logical_not, Signature((BOOLEAN,), BOOLEAN)),
    "&": of_values(np.bitwise_and, *_BITS),
    "|": of_values(np.bitwise_or, *_BITS),
    "^": of_values(np.bitwise_xor, *_BITS),
    "~": of_values(np.invert, *(Signature((one,), one) for one in (INT, LONG))),
}
