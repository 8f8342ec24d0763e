"""The built-in functions of the standard, over whole columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.scorers.pmml.columns import BOOLEAN, DOUBLE, INTEGER, STRING, Bools, Column

Values = Any  # float64 [rows], or texts as object [rows]
Call = Callable[..., Values]


@dataclass(frozen=True)
class Function:
    """A function whose arguments all have values, or an aggregation that leaves out missing ones.

    Attributes:
      call: computes the values from columns of arguments.
      least: the smallest number of arguments.
      most: the largest number.
      takes: the kind of the arguments: number, text, boolean, or any (all of them texts, or all of them numbers).
      gives: the data type of the result; "same" for integer if all arguments are integers, otherwise double.
      aggregates: whether missing arguments are left out.
    """

    call: Call
    least: int
    most: int
    takes: str
    gives: str
    aggregates: bool = False


def _plain(call: Call, count: int = 1, gives: str = DOUBLE) -> Function:
    return Function(call, count, count, "number", gives)


def _aggregate(call: Callable[[Any], Values], gives: str = "same") -> Function:
    return Function(lambda *values: call(np.stack(values)), 1, 1_000, "number", gives, aggregates=True)


def _comparison(call: Call, takes: str = "number") -> Function:
    return Function(lambda one, other: np.asarray(call(one, other), np.float64), 2, 2, takes, BOOLEAN)


def _text(call: Callable[..., str], least: int = 1, most: int = 1) -> Function:
    def over_rows(*columns: Values) -> Values:
        result = np.empty(len(columns[0]), object)
        result[:] = [call(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
        return result

    return Function(over_rows, least, most, "text", STRING)


def _remainder(one: Values, other: Values) -> Values:
    # The result has the sign of the divisor, as the standard's modulo does.
    return np.mod(one, other)


def _half_up(values: Values) -> Values:
    return np.floor(values + 0.5)


def _is_in(value: Values, *others: Values) -> Values:
    return np.any([np.asarray(value == other, bool) for other in others], axis=0).astype(np.float64)


FUNCTIONS: dict[str, Function] = {
    "+": _plain(np.add, 2, "same"),
    "-": _plain(np.subtract, 2, "same"),
    "*": _plain(np.multiply, 2, "same"),
    "/": _plain(np.divide, 2),
    "modulo": _plain(_remainder, 2, "same"),
    "min": _aggregate(lambda stacked: np.nanmin(stacked, axis=0)),
    "max": _aggregate(lambda stacked: np.nanmax(stacked, axis=0)),
    "sum": _aggregate(lambda stacked: np.nansum(stacked, axis=0)),
    "product": _aggregate(lambda stacked: np.nanprod(stacked, axis=0)),
    "avg": _aggregate(lambda stacked: np.nanmean(stacked, axis=0), DOUBLE),
    "median": _aggregate(lambda stacked: np.nanmedian(stacked, axis=0), DOUBLE),
    "log10": _plain(np.log10),
    "ln": _plain(np.log),
    "ln1p": _plain(np.log1p),
    "sqrt": _plain(np.sqrt),
    "abs": _plain(np.abs, gives="same"),
    "exp": _plain(np.exp),
    "expm1": _plain(np.expm1),
    "pow": _plain(np.power, 2),
    "hypot": _plain(np.hypot, 2),
    "threshold": _plain(lambda one, other: np.asarray(one > other, np.float64), 2, INTEGER),
    "floor": _plain(np.floor, gives=INTEGER),
    "ceil": _plain(np.ceil, gives=INTEGER),
    "round": _plain(_half_up, gives=INTEGER),
    "rint": _plain(np.rint),
    **{name: _plain(getattr(np, name)) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    "asin": _plain(np.arcsin),
    "acos": _plain(np.arccos),
    "atan": _plain(np.arctan),
    "equal": _comparison(lambda one, other: one == other, "any"),
    "notEqual": _comparison(lambda one, other: one != other, "any"),
    "lessThan": _comparison(np.less),
    "lessOrEqual": _comparison(np.less_equal),
    "greaterThan": _comparison(np.greater),
    "greaterOrEqual": _comparison(np.greater_equal),
    "isIn": Function(_is_in, 2, 1_000, "any", BOOLEAN),
    "isNotIn": Function(lambda *values: 1 - _is_in(*values), 2, 1_000, "any", BOOLEAN),
    "and": Function(lambda *values: np.min(values, axis=0), 2, 1_000, "boolean", BOOLEAN),
    "or": Function(lambda *values: np.max(values, axis=0), 2, 1_000, "boolean", BOOLEAN),
    "not": Function(lambda value: 1 - value, 1, 1, "boolean", BOOLEAN),
    "uppercase": _text(str.upper),
    "lowercase": _text(str.lower),
    "trimBlanks": _text(str.strip),
    "concat": _text(lambda *texts: "".join(texts), 2, 1_000),
}


def result_type(function: Function, arguments: Sequence[str]) -> str:
    """The data type of the result for arguments of these types."""
    if function.gives != "same":
        return function.gives
    return INTEGER if all(one == INTEGER for one in arguments) else DOUBLE


def called(function: Function, arguments: Sequence[Column]) -> tuple[Column, Any]:
    """The results of a function, missing where an argument is, and which rows have arguments without a result.

    An aggregation has a missing result only if all of its arguments are missing.
    """
    missing = np.stack([argument.missing() for argument in arguments])
    gone: Bools = np.asarray(missing.all(axis=0) if function.aggregates else missing.any(axis=0), np.bool_)
    is_text = function.gives == STRING
    values: Any = np.full(len(gone), None if is_text else np.nan, object if is_text else np.float64)
    here = np.flatnonzero(~gone)
    if len(here):
        with np.errstate(all="ignore"):
            values[here] = function.call(*(argument.values[here] for argument in arguments))
    failed = np.zeros(len(gone), bool)
    if not is_text:
        failed[here] = ~np.isfinite(values[here])
        values[failed] = np.nan
    return Column(values), failed
