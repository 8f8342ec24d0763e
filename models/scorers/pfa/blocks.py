"""Blocks of expressions with variables, and the choice between branches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.scorers.pfa.avro_types import (
    NULL,
    accepts,
    union_of,
)
from models.scorers.pfa.columns import Bools, Column, Nulls, Places, Scalars, filler, merged
from models.scorers.pfa.elements import Element
from models.scorers.pfa.frames import Frame
from models.scorers.pfa.nodes import (
    Node,
    Scope,
    coerced,
    computable,
    constant_node,
    variable_node,
)

NOTHING = constant_node(NULL, None)


def _statements(element: Element) -> list[Element]:
    """One expression, or several in a list."""
    return element.items() if isinstance(element.value, list) else [element]


def compile_block(element: Element, scope: Scope) -> Node:
    """A sequence of expressions in a scope of their own; the last one gives the value."""
    statements = _statements(element)
    if not statements:
        element.refuse("a block must contain an expression")
    inner = scope.inner()
    nodes = [_statement(one, inner) for one in statements]
    last = nodes[-1]
    effects = [node for node in nodes[:-1] if not node.is_constant]
    if not effects:
        return last

    def evaluate(frame: Frame) -> Column:
        for node in effects:
            node.evaluate(frame)
        return last.evaluate(frame)

    return Node(last.type, evaluate, test=last.test)


def _statement(element: Element, scope: Scope) -> Node:
    if isinstance(element.value, dict) and "let" in element.value:
        scope.program.count(element)
        return _let(element, scope)
    return scope.compile(element)


def _let(element: Element, scope: Scope) -> Node:
    element.check("let")
    values = {name: scope.compile(one) for name, one in element.child("let").members()}
    computed = []
    for name, node in values.items():
        if name in scope.symbols:
            element.refuse(f"the symbol {name!r} is already defined")
        if node.is_constant:
            scope.symbols[name] = node
        else:
            scope.symbols[name] = variable_node(computable(node, element).type, node.sources)
            computed.append((scope.symbols[name].slot, node))

    def evaluate(frame: Frame) -> Column:
        for slot, node in computed:
            frame.set(slot, node.evaluate(frame))  # type: ignore[arg-type]
        return Nulls(frame.rows)

    return Node(NULL, evaluate) if computed else NOTHING


def choice(tests: Sequence[Node], branches: Sequence[Node], element: Element) -> Node:
    """The first branch whose test is true; otherwise the last one, which has no test.

    Each branch is evaluated only for its own rows.
    """
    kind = union_of([branch.type for branch in branches])
    nodes = [computable(coerced(branch, kind, element), element) for branch in branches]
    for node in nodes:
        if not accepts(nodes[0].type, node.type):
            element.refuse("the branches give maps with different keys, which is not supported")

    def evaluate(frame: Frame) -> Column:
        left, parts = np.arange(frame.rows), []
        for test, node in zip(tests, nodes, strict=False):
            part = frame.subset(left)
            true = _truth(test.evaluate(part))
            parts.append(_branch(node, frame, left[true]))
            left = left[~true]
        parts.append(_branch(nodes[-1], frame, left))
        return merged([one for one in parts if len(one[0])] or parts[:1])

    return Node(nodes[0].type, evaluate)


def _branch(node: Node, frame: Frame, places: Places) -> tuple[Places, Column]:
    if not len(places):
        return places, filler(node.type, 0)
    return places, node.evaluate(frame if len(places) == frame.rows else frame.subset(places))


def _truth(column: Column) -> Bools:
    return column.values if isinstance(column, Scalars) else np.zeros(column.rows, bool)
