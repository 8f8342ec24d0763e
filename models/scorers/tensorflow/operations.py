"""Which operations a frozen graph may contain: those that compute, and nothing that acts on the worker.

A SavedModel is a program and may do anything, because its users need that (tables, assets, random numbers). A frozen
graph has no such use: what has a state cannot be frozen. So an operation is refused if TensorFlow registers it as
stateful, which includes most of those that read or write files, run Python or call servers, or if it is of one of the
few families that do such things without being registered so. Calls of functions are refused, too, because nested ones
can grow without bound.
"""

from __future__ import annotations

import math
import re
from typing import Any

from models.errors import ModelLoadError

# Stateful only so that they are not optimized away, or for the time of one call.
_HARMLESS = re.compile(r"Assert|CheckNumerics(V2)?|GuaranteeConst|TensorArray\w*V3")
_ACTING = re.compile(r"^_|File|Dataset|PyFunc|Proto|Reader|Vocab|Debug|Copy|Remote|Xla|TPU|Tpu|Custom|Iterator|Summary")
# Of a constant, when it is loaded: numbers without a fixed size are texts, of which each takes that much at least.
_SMALLEST_TEXT = 16


def check_operations(graph: Any) -> None:
    """Checks all nodes of a GraphDef.

    Raises:
      ModelLoadError: when one is of an operation that is unknown or refused; the message names both.
    """
    for node in graph.node:
        reason = refusal(node.op)
        if reason is None and any(_names_function(value) for value in node.attr.values()):
            reason = (
                "calls a function; freeze the graph with convert_variables_to_constants_v2, which inlines functions"
            )
        if reason is not None:
            raise ModelLoadError(f"node {node.name!r} is the operation {node.op}, which {reason}")


def refusal(operation: str) -> str | None:
    """Why graphs with that operation are refused; None if they are not."""
    from tensorflow.python.framework import op_def_registry

    known = op_def_registry.get(operation)
    if known is None:
        return "this TensorFlow does not know"
    if _ACTING.search(operation):
        return "may act on the worker or read its files; remove it from the graph"
    if known.is_stateful and not _HARMLESS.fullmatch(operation):
        return "has a state or acts on the worker; freeze the graph, or serve it as a SavedModel"
    return None


def constant_bytes(graph: Any) -> int:
    """How much memory the constants of a GraphDef take once they are loaded: a few bytes can stand for any number."""
    return sum(_tensor_bytes(value.tensor) for node in graph.node for value in node.attr.values() if _is_tensor(value))


def _tensor_bytes(tensor: Any) -> int:
    from tensorflow import dtypes

    size: int = dtypes.as_dtype(tensor.dtype).size or _SMALLEST_TEXT
    sizes: list[int] = [max(dimension.size, 0) for dimension in tensor.tensor_shape.dim]
    return size * math.prod(sizes)


def _is_tensor(value: Any) -> bool:
    return bool(value.WhichOneof("value") == "tensor")


def _names_function(value: Any) -> bool:
    return value.WhichOneof("value") == "func" or bool(value.list.func)
