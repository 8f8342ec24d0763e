"""Conversions of numbers and texts, and one-hot encodings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from models.scorers.pfa.avro_types import BOOLEAN, DOUBLE, FLOAT, INT, LONG, STRING, Array, Enum, Primitive
from models.scorers.pfa.columns import Column, Lists, Scalars, dtype_of
from models.scorers.pfa.frames import Frame
from models.scorers.pfa.library.calls import Call, Signature, of_columns, of_values
from models.scorers.pfa.library.numbers.mathematics import rounded
from models.scorers.pfa.nodes import Node

_NUMBERS = (INT, LONG, FLOAT, DOUBLE)


def _whole(target: Primitive) -> Callable[[Call], Node]:
    return of_columns(rounded, *(Signature((one,), target) for one in _NUMBERS))


def _floating(target: Primitive) -> Callable[[Call], Node]:
    return of_values(lambda values: values.astype(dtype_of(target)), Signature((DOUBLE,), target))


def _fanout(kind: Primitive) -> Callable[[Call], Node]:
    """A one-hot encoding: a number or boolean for each symbol, known text or integer tells whether it is the value."""

    def compile_call(call: Call) -> Node:
        value, known, rest = _choices(call)
        dtype = dtype_of(kind)

        def evaluate(frame: Frame) -> Column:
            column = value.evaluate(frame)
            values: Any = column.values if isinstance(column, Scalars) else np.zeros(frame.rows)
            equal = [np.asarray(values == one, bool) for one in known]
            if rest:
                equal.append(~np.any(equal, axis=0) if equal else np.ones(frame.rows, bool))
            flat = np.stack(equal, axis=1).ravel() if equal else np.zeros(0, bool)
            return Lists(np.full(frame.rows, len(equal), np.int64), Scalars(flat.astype(dtype)))

        return Node(Array(kind), evaluate)

    return compile_call


def _choices(call: Call) -> tuple[Node, list[Any], bool]:
    """The value, what it is compared with, and whether another item stands for all other values."""
    value = call.column_node(0)
    if isinstance(value.type, Enum):
        call.check_count(1)
        return value, list(value.type.symbols), False
    call.check_count(3, 4)
    rest = bool(_known(call, len(call.arguments) - 1, BOOLEAN))
    if value.type == STRING:
        call.check_count(3)
        texts = _known(call, 1, Array(STRING))
        call.refuse_unless(len(set(texts)) == len(texts), "non-distinct values in dictionary")
        return value, list(texts), rest
    call.check_count(4)
    least, most = _known(call, 1, INT), _known(call, 2, INT)
    call.refuse_unless(0 <= most - least <= 10_000, "its range must contain 0 to 10,000 numbers")
    return call.column_node(0, INT), list(range(least, most)), rest


def _known(call: Call, place: int, wanted: Any) -> Any:
    node = call.node(place, wanted)
    call.refuse_unless(node.is_constant, f"argument {place + 1} must be a cell or a literal")
    return node.constant


FUNCTIONS: dict[str, Callable[[Call], Node]] = {
    "cast.int": _whole(INT),
    "cast.long": _whole(LONG),
    "cast.float": _floating(FLOAT),
    "cast.double": _floating(DOUBLE),
    "cast.fanoutBoolean": _fanout(BOOLEAN),
    "cast.fanoutInt": _fanout(INT),
    "cast.fanoutLong": _fanout(LONG),
    "cast.fanoutFloat": _fanout(FLOAT),
    "cast.fanoutDouble": _fanout(DOUBLE),
}
