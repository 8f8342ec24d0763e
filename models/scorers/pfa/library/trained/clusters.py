"""model.cluster.closest: the distances of all rows to each center, and the cluster with the smallest one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from models.scorers.pfa.avro_types import DOUBLE, Array
from models.scorers.pfa.columns import Column, Places
from models.scorers.pfa.constants import column_of
from models.scorers.pfa.frames import Frame
from models.scorers.pfa.library.calls import NUMBER_ARRAY, Call, Floats, doubles, matrix
from models.scorers.pfa.library.trained.regressions import field_types
from models.scorers.pfa.nodes import Node, bound, coerced, constant_node


def _closest(call: Call) -> Node:
    call.check_count(2, 3)
    kind, clusters = call.constant(1)
    call.refuse_unless(isinstance(kind, Array) and bool(clusters), "no clusters")
    items = kind.items if isinstance(kind, Array) else kind
    (center,) = field_types(call, items, "center")
    known = column_of(items, clusters)
    centers = [constant_node(center, one["center"]) for one in clusters]
    widths = {len(one["center"]) for one in clusters} if center == NUMBER_ARRAY else set()
    if len(widths) == 1 and call.node(0).type == NUMBER_ARRAY:
        call.vector(0, widths.pop())
    if len(call.arguments) == 2:
        call.refuse_unless(center == NUMBER_ARRAY, "center must be an array of doubles")
        return _by_default(call, Node(items, lambda _: known), np.array([one["center"] for one in clusters], object))

    def with_datum(symbols: dict[str, Node]) -> Node:
        metric = call.function(2)
        distances = [coerced(metric.apply([symbols["datum"], one]), DOUBLE, call.element) for one in centers]

        def evaluate(frame: Frame) -> Column:
            return known.take(_nearest(np.stack([doubles(one.evaluate(frame)) for one in distances], axis=1)))

        return Node(items, evaluate)

    return bound({"datum": call.column_node(0)}, call.element, with_datum)  # type: ignore[arg-type]


def _by_default(call: Call, known: Node, centers: Any) -> Node:
    """Squared Euclidean distances."""
    lengths = {len(one) for one in centers}
    call.refuse_unless(len(lengths) == 1, "the centers must have the same dimensions")
    table = np.array(centers.tolist(), np.float64)
    datum = call.vector(0, table.shape[1])

    def evaluate(frame: Frame) -> Column:
        values = matrix(call, frame, datum.evaluate(frame), table.shape[1], "dimensions of vectors do not match")
        distances = np.stack([np.square(values - one).sum(axis=1) for one in table], axis=1)
        return known.evaluate(frame).take(_nearest(distances))

    return Node(known.type, evaluate)


def _nearest(distances: Floats) -> Places:
    nearest: Places = np.where(np.isnan(distances), np.inf, distances).argmin(axis=1)
    return nearest


FUNCTIONS: dict[str, Callable[[Call], Node]] = {"model.cluster.closest": _closest}
