"""model.neural.simpleLayers: each layer is one product of matrices for all rows."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from models.scorers.pfa.avro_types import DOUBLE, Array
from models.scorers.pfa.columns import Column, Scalars
from models.scorers.pfa.frames import Frame
from models.scorers.pfa.library.calls import NUMBER_ARRAY, Call, doubles, lists_of, matrix
from models.scorers.pfa.library.trained.regressions import field_types
from models.scorers.pfa.nodes import Node, coerced, variable_node

_MISALIGNED = "weights, bias, or datum misaligned"


def _simple_layers(call: Call) -> Node:
    call.check_count(3)
    kind, model = call.constant(1)
    call.refuse_unless(isinstance(kind, Array) and bool(model), "no layers")
    weights, bias = field_types(call, kind.items if isinstance(kind, Array) else kind, "weights", "bias")
    call.refuse_unless(weights == Array(NUMBER_ARRAY) and bias == NUMBER_ARRAY, "weights and bias must be doubles")
    layers = []
    for layer in model:
        rows = layer["weights"]
        call.refuse_unless(bool(rows) and len({len(row) for row in rows}) == 1, _MISALIGNED)
        call.refuse_unless(len(rows) == len(layer["bias"]), _MISALIGNED)
        layers.append((np.array(rows, np.float64).T, np.array(layer["bias"], np.float64)))
    for (_, before), (after, _) in pairwise(layers):
        call.refuse_unless(len(before) == len(after), _MISALIGNED)
    datum, value = call.vector(0, len(layers[0][0])), variable_node(DOUBLE)
    activation = coerced(call.function(2).apply([value]), DOUBLE, call.element)

    def evaluate(frame: Frame) -> Column:
        values = matrix(call, frame, datum.evaluate(frame), len(layers[0][0]), _MISALIGNED)
        for number, (weights, bias) in enumerate(layers):
            values = values @ weights + bias
            if number < len(layers) - 1:
                inner = frame.subset(np.repeat(np.arange(frame.rows), values.shape[1]))
                inner.set(value.slot or 0, Scalars(values.ravel()))
                values = doubles(activation.evaluate(inner)).reshape(values.shape)
        return lists_of(values)

    return Node(NUMBER_ARRAY, evaluate)


FUNCTIONS: dict[str, Callable[[Call], Node]] = {"model.neural.simpleLayers": _simple_layers}
