"""Link functions of a number, or of all numbers of an array or map together."""

from __future__ import annotations

from collections.abc import Callable
from math import erf
from typing import Any

import numpy as np

from models.scorers.pfa.avro_types import DOUBLE, Array, Map, Type
from models.scorers.pfa.columns import Column, Fields, Lists, Scalars
from models.scorers.pfa.frames import Frame
from models.scorers.pfa.library.calls import Call, doubles
from models.scorers.pfa.nodes import Node


def _argument(call: Call, kinds: tuple[Type, ...]) -> Node:
    call.check_count(1)
    given = call.column_node(0)
    wanted = Array(DOUBLE) if isinstance(given.type, Array) else Map(DOUBLE) if isinstance(given.type, Map) else DOUBLE
    call.refuse_unless(wanted in kinds, "an array or a map is expected")
    return call.column_node(0, wanted)


def _each(compute: Callable[[Any], Any]) -> Callable[[Call], Node]:
    def over(column: Column) -> Column:
        if isinstance(column, Lists):
            return Lists(column.lengths, over(column.items))
        if isinstance(column, Fields):
            return Fields(column.rows, {key: over(one) for key, one in column.columns.items()})
        return Scalars(np.asarray(compute(doubles(column)), np.float64))

    def compile_call(call: Call) -> Node:
        node = _argument(call, (DOUBLE, Array(DOUBLE), Map(DOUBLE)))
        return Node(node.type, lambda frame: over(node.evaluate(frame)))

    return compile_call


def _softmax(call: Call) -> Node:
    node = _argument(call, (Array(DOUBLE), Map(DOUBLE)))

    def evaluate(frame: Frame) -> Column:
        column = node.evaluate(frame)
        if isinstance(column, Fields):
            call.fail(frame, np.full(frame.rows, not column.columns), "empty input")
            keys = list(column.columns)
            values = np.stack([doubles(column.columns[key]) for key in keys], axis=1) if keys else np.zeros((0, 0))
            shares = _shares(values)
            return Fields(column.rows, {key: Scalars(shares[:, place]) for place, key in enumerate(keys)})
        if not isinstance(column, Lists):
            raise TypeError("not a column of arrays")
        call.fail(frame, column.lengths == 0, "empty input")
        return Lists(column.lengths, Scalars(_ragged_shares(doubles(column.items), column)))

    return Node(node.type, evaluate)


def _shares(values: Any) -> Any:
    if not values.size:
        return values
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _ragged_shares(values: Any, column: Lists) -> Any:
    lengths = column.lengths
    if len(lengths) and (lengths == lengths[0]).all():
        return _shares(values.reshape(len(lengths), lengths[0])).ravel()
    largest = np.full(column.rows, -np.inf)
    np.maximum.at(largest, column.owners, values)
    powers = np.exp(values - largest[column.owners])
    return powers / np.bincount(column.owners, weights=powers, minlength=column.rows)[column.owners]


def _probit(values: Any) -> Any:
    return (np.array([erf(one) for one in (values / np.sqrt(2.0)).tolist()]) + 1) / 2


FUNCTIONS: dict[str, Callable[[Call], Node]] = {
    "m.link.softmax": _softmax,
    "m.link.logit": _each(lambda x: 1 / (1 + np.exp(-x))),
    "m.link.probit": _each(_probit),
    "m.link.cloglog": _each(lambda x: 1 - np.exp(-np.exp(x))),
    "m.link.loglog": _each(lambda x: np.exp(-np.exp(x))),
    "m.link.cauchit": _each(lambda x: 0.5 + np.arctan(x) / np.pi),
    "m.link.softplus": _each(lambda x: np.logaddexp(0, x)),
    "m.link.relu": _each(lambda x: np.maximum(x, 0)),
    "m.link.tanh": _each(np.tanh),
}
