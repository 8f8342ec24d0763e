"""Checks the source code in a file of TorchScript before PyTorch reads it.

PyTorch evaluates the default values of parameters while it loads a file, and may run `__setstate__`. (With version
2.15, a default value that called `torch.from_file` created that file.) The serializer only writes constants there.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from models.errors import ModelLoadError
from models.scorers.pytorch.operators import refusal

_CONSTANT_CALLS = ("annotate",)
_PACKED_CLASSES = "quantized"  # the only C++ classes that may be in a model: packed weights


def check_source(name: str, content: bytes, allow_code: Callable[[str], None]) -> None:
    """Checks a file of TorchScript code, which is a subset of Python.

    Raises:
      PickleRefusedError: from `allow_code`, when loading evaluates more than constants.
      ModelLoadError: Python cannot parse the file, or it names an operator that is rejected.
    """
    try:
        tree = ast.parse(content.decode("ascii"))
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise ModelLoadError(f"{name} is not TorchScript code: {error}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            _check_attribute(name, node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            _check_getattr(name, node)
        if isinstance(node, ast.FunctionDef) and node.name == "__setstate__":
            allow_code("TorchScript with __setstate__, and loading it runs that")
        if any(_calls(expression) for expression in _evaluated(node)):
            allow_code("TorchScript that computes values while it is loaded")


def _evaluated(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that PyTorch evaluates when it loads a definition."""
    if isinstance(node, ast.FunctionDef):
        yield from node.args.defaults
        yield from (one for one in node.args.kw_defaults if one is not None)
        yield from node.decorator_list
    elif isinstance(node, ast.ClassDef):
        yield from (one for one in node.body if not isinstance(one, ast.FunctionDef))


def _calls(expression: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in _CONSTANT_CALLS)
        for node in ast.walk(expression)
    )


def _check_attribute(file: str, node: ast.Attribute) -> None:
    names = _dotted(node)
    reason = None
    if names[:1] == ["torch"]:
        reason = refusal("aten", names[-1])
    elif names[:1] == ["ops"] and len(names) > 2:
        reason = refusal(names[1], names[2])
    elif names[:3] == ["__torch__", "torch", "classes"] and len(names) > 3 and names[3] != _PACKED_CLASSES:
        reason = "is a class of C++"
    if reason is not None:
        raise ModelLoadError(f"{file} line {node.lineno} uses {'.'.join(names)}, which {reason}")


def _check_getattr(file: str, node: ast.Call) -> None:
    """Rejects `getattr` on `torch`, where it could hide a function's name.

    The serializer uses `getattr` for attributes of modules whose names are numbers.
    """
    owner = node.args[0] if node.args else None
    if isinstance(owner, (ast.Name, ast.Attribute)) and _dotted(owner)[:1] in (["torch"], ["ops"]):
        raise ModelLoadError(f"{file} line {node.lineno} uses getattr on PyTorch's functions, which hides their names")


def _dotted(node: ast.expr) -> list[str]:
    """The names of `a.b.c`; empty when it does not start with a name."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        start = _dotted(node.value)
        return [*start, node.attr] if start else []
    return []
