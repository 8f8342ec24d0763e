"""Functions of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from models.scorers.pfa.avro_types import DOUBLE, FLOAT, INT, LONG
from models.scorers.pfa.columns import Column, Scalars
from models.scorers.pfa.library.calls import Call, Signature, Site, of_columns, of_values
from models.scorers.pfa.nodes import Node, constant_node


def _one(compute: Callable[[Any], Any]) -> Callable[[Call], Node]:
    return of_values(compute, Signature((DOUBLE,), DOUBLE))


def _constant(value: float) -> Callable[[Call], Node]:
    def compile_call(call: Call) -> Node:
        call.check_count(0)
        return constant_node(DOUBLE, value)

    return compile_call


def rounded(site: Site, one: Scalars) -> Column:
    """The nearest integers; halves are rounded up."""
    if one.values.dtype == np.int64:
        return site.in_range(one.values)
    values = np.floor(one.values.astype(np.float64) + 0.5)
    beyond = ~(np.abs(values) < 2.0**63)
    return site.in_range(np.where(beyond, 0, values).astype(np.int64), beyond)


def _logarithm(site: Site, one: Scalars, base: Scalars) -> Column:
    site.fail(base.values <= 0, "base must be positive")
    return Scalars(np.log(one.values) / np.log(base.values.astype(np.float64)))


FUNCTIONS: dict[str, Callable[[Call], Node]] = {
    "m.pi": _constant(math.pi),
    "m.e": _constant(math.e),
    "m.acos": _one(np.arccos),
    "m.asin": _one(np.arcsin),
    "m.atan": _one(np.arctan),
    "m.atan2": of_values(np.arctan2, Signature((DOUBLE, DOUBLE), DOUBLE)),
    "m.ceil": _one(np.ceil),
    "m.cos": _one(np.cos),
    "m.cosh": _one(np.cosh),
    "m.exp": _one(np.exp),
    "m.expm1": _one(np.expm1),
    "m.floor": _one(np.floor),
    "m.hypot": of_values(np.hypot, Signature((DOUBLE, DOUBLE), DOUBLE)),
    "m.ln": _one(np.log),
    "m.ln1p": _one(np.log1p),
    "m.log": of_columns(_logarithm, Signature((DOUBLE, INT), DOUBLE)),
    "m.log10": _one(np.log10),
    "m.rint": _one(np.rint),
    "m.round": of_columns(rounded, Signature((FLOAT,), INT), Signature((DOUBLE,), LONG)),
    "m.signum": of_values(lambda x: np.where(np.isnan(x), 0, np.sign(x)).astype(np.int64), Signature((DOUBLE,), INT)),
    "m.sin": _one(np.sin),
    "m.sinh": _one(np.sinh),
    "m.sqrt": _one(np.sqrt),
    "m.tan": _one(np.tan),
    "m.tanh": _one(np.tanh),
}
