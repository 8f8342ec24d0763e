"""Checks that the operations of a frozen graph only compute, and do not act on the worker.

A SavedModel is a program and may do anything, because its users need that (tables, assets, random numbers). A frozen
graph does not need that, because anything with state cannot be frozen. An operation is therefore refused if TensorFlow
registers it as stateful, which includes most operations that read or write files, run Python or call servers, or if it
belongs to one of the few families that do so without being registered as stateful. Calls of functions are also refused,
because nested calls can grow without bound.
"""

from __future__ import annotations

import math
import re
from typing import Any

from models.errors import ModelLoadError

# These are stateful only so that they are not optimized away, or only during one call.
_HARMLESS = re.compile(r"Assert|CheckNumerics(V2)?|GuaranteeConst|TensorArray\w*V3")
_ACTING = re.compile(r"^_|File|Dataset|PyFunc|Proto|Reader|Vocab|Debug|Copy|Remote|Xla|TPU|Tpu|Custom|Iterator|Summary")
# The minimum size in bytes of each text of a loaded constant.
_SMALLEST_TEXT = 16


def check_operations(graph: Any) -> None:
    """Checks all nodes of a GraphDef.

    Raises:
      ModelLoadError: a node has an operation that is unknown or refused; the message names both.
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
    """The reason why graphs with this operation are refused; None if they are accepted."""
    from tensorflow.python.framework import op_def_registry

    known = op_def_registry.get(operation)
    if known is None:
        return "this TensorFlow does not know"
    if _ACTING.search(operation):
        return "may act on the worker or read its files; remove it from the graph"
    if known.is_stateful and not _HARMLESS.fullmatch(operation):
        return "has state or acts on the worker; freeze the graph, or serve it as a SavedModel"
    return None


def constant_bytes(graph: Any) -> int:
    """The memory in bytes of a GraphDef's constants once loaded; a few bytes of a file can stand for many values."""
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
