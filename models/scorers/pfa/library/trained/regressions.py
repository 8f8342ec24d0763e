"""model.reg.linear: one product of matrices for all rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from models.scorers.pfa.avro_types import DOUBLE, Array, Map, Record, Type
from models.scorers.pfa.columns import Column, Fields, Scalars
from models.scorers.pfa.frames import Frame
from models.scorers.pfa.library.calls import NUMBER_ARRAY, Call, doubles, lists_of, matrix
from models.scorers.pfa.nodes import Node

_MISALIGNED = "misaligned coeff"


def field_types(call: Call, kind: Type, *names: str) -> list[Type]:
    """The types of the fields that the record of a model must have."""
    if not isinstance(kind, Record) or not set(names) <= kind.fields.keys():
        call.element.refuse(f"{call.name}: its model must be a record with the fields {', '.join(names)}")
    return [kind.fields[name] for name in names]


def _linear(call: Call) -> Node:
    call.check_count(2)
    kind, model = call.constant(1)
    coefficients, constant = field_types(call, kind, "coeff", "const")
    coeff, const = model["coeff"], model["const"]
    if isinstance(coefficients, Array) and constant == DOUBLE and coefficients.items == DOUBLE:
        table = np.array([coeff], np.float64).reshape(1, len(coeff))
        return _of_arrays(call, table, np.array([const]), single=True)
    if coefficients == Array(NUMBER_ARRAY) and constant == NUMBER_ARRAY:
        call.refuse_unless(len(coeff) == len(const) and bool(coeff), "misaligned const")
        call.refuse_unless(len({len(row) for row in coeff}) == 1, _MISALIGNED)
        return _of_arrays(call, np.array(coeff, np.float64), np.array(const), single=False)
    if coefficients == Map(DOUBLE) and constant == DOUBLE:
        return _of_maps(call, {"": coeff}, {"": const}, single=True)
    if coefficients == Map(Map(DOUBLE)) and constant == Map(DOUBLE):
        return _of_maps(call, coeff, const, single=False)
    return call.element.refuse(f"{call.name}: coeff and const have the types {coefficients} and {constant}")


def _of_arrays(call: Call, table: Any, const: Any, single: bool) -> Node:
    datum = call.vector(0, table.shape[1])

    def evaluate(frame: Frame) -> Column:
        values = matrix(call, frame, datum.evaluate(frame), table.shape[1], _MISALIGNED)
        result = values @ table.T + const
        return Scalars(result[:, 0]) if single else lists_of(result)

    return Node(DOUBLE if single else NUMBER_ARRAY, evaluate)


def _of_maps(call: Call, coeff: dict[str, Any], const: dict[str, float], single: bool) -> Node:
    """Coefficients by key; a missing key counts as 0."""
    datum = call.column_node(0, Map(DOUBLE))
    keys = datum.type.keys or () if isinstance(datum.type, Map) else ()
    names = tuple(sorted({*coeff, *const}))
    table = np.array([[coeff.get(name, {}).get(key, 0.0) for key in keys] for name in names]).reshape(-1, len(keys))
    added = np.array([const.get(name, 0.0) for name in names])

    def evaluate(frame: Frame) -> Column:
        column = datum.evaluate(frame)
        parts = [doubles(column.columns[key]) for key in keys] if isinstance(column, Fields) else []
        values = np.stack(parts, axis=1) if parts else np.zeros((frame.rows, 0))
        result = values @ table.T + added
        if single:
            return Scalars(result[:, 0])
        return Fields(frame.rows, {name: Scalars(result[:, place]) for place, name in enumerate(names)})

    return Node(DOUBLE if single else Map(DOUBLE, names), evaluate)


FUNCTIONS: dict[str, Callable[[Call], Node]] = {"model.reg.linear": _linear}
