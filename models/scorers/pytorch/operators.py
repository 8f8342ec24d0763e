"""The operators that a program may have: those that only compute. This module does not need PyTorch.

The check of source code does not need it either.
"""

from __future__ import annotations

# Operators of these namespaces compute, except for those below. Others come from other packages, or act on devices.
NAMESPACES = frozenset({"aten", "prim", "prims", "quantized", "sparse"})
FILE_OPERATORS = frozenset({"from_file", "save"})


def refusal(namespace: str, name: str) -> str | None:
    """The reason why programs with that operator are rejected; None if they are accepted.

    >>> refusal("aten", "linear") is None, refusal("aten", "from_file")
    (True, 'reads or writes files')
    """
    if name in FILE_OPERATORS:
        return "reads or writes files"
    if namespace not in NAMESPACES:
        return "is not one of PyTorch's own that only compute"
    return None
