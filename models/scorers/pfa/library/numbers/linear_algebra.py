"""la.dot of a known matrix and a vector."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.scorers.pfa.avro_types import Array
from models.scorers.pfa.columns import Column
from models.scorers.pfa.frames import Frame
from models.scorers.pfa.library.calls import NUMBER_ARRAY, Call, lists_of, matrix
from models.scorers.pfa.nodes import Node, coerced


def _dot(call: Call) -> Node:
    call.check_count(2)
    call.constant(0)
    rows = coerced(call.node(0), Array(NUMBER_ARRAY), call.element).constant
    call.refuse_unless(bool(rows) and bool(rows[0]) and len({len(row) for row in rows}) == 1, "its matrix has no shape")
    table, vector = np.array(rows, np.float64), call.vector(1, len(rows[0]))

    def evaluate(frame: Frame) -> Column:
        values = matrix(call, frame, vector.evaluate(frame), table.shape[1], "misaligned matrices")
        call.fail(frame, np.asarray(~np.isfinite(values).all(axis=1), np.bool_), "contains non-finite value")
        return lists_of(values @ table.T)

    return Node(NUMBER_ARRAY, evaluate)


FUNCTIONS: dict[str, Callable[[Call], Node]] = {"la.dot": _dot}
