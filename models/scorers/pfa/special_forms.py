"""The expressions of the language other than calls, by the name that introduces them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from models.scorers.pfa.avro_types import (
    Array,
    Map,
    Record,
    Type,
    accepts,
)
from models.scorers.pfa.blocks import compile_block
from models.scorers.pfa.columns import Column, Fields, Lists, merged
from models.scorers.pfa.conditions import compile_cast, compile_cond, compile_if, compile_if_not_null
from models.scorers.pfa.elements import Element
from models.scorers.pfa.frames import Frame
from models.scorers.pfa.nodes import (
    Node,
    Scope,
    coerced,
    computable,
    constant_node,
)
from models.scorers.pfa.paths import walked


def _stray_let(element: Element, scope: Scope) -> Node:
    del scope
    return element.refuse("'let' is supported only as a statement of a block")


def _do(element: Element, scope: Scope) -> Node:
    return compile_block(element.child("do"), scope)


def _upcast(element: Element, scope: Scope) -> Node:
    element.check("upcast as")
    wanted = scope.program.types.read(element.need("as"))
    return coerced(scope.compile(element.child("upcast")), wanted, element)


def _attr(element: Element, scope: Scope) -> Node:
    element.check("attr path")
    start = scope.compile(element.child("attr"))
    path = [scope.compile(one) for one in element.need("path").items()]
    return walked(start, path, element)


def _cell(element: Element, scope: Scope) -> Node:
    element.check("cell path")
    name = element.child("cell").text()
    if name not in scope.program.cells:
        element.refuse(f"the document has no cell {name!r}")
    path = element.find("path")
    return walked(scope.program.cells[name], [scope.compile(one) for one in path.items()] if path else [], element)


def _new(element: Element, scope: Scope) -> Node:
    element.check("new type")
    wanted, given = scope.program.types.read(element.need("type")), element.child("new")
    if isinstance(wanted, Array):
        nodes = [coerced(scope.compile(one), wanted.items, one) for one in given.items()]
        if all(node.is_constant for node in nodes):
            return constant_node(wanted, tuple([node.constant for node in nodes]))
        return stacked([computable(node, element) for node in nodes], wanted.items, element)
    if not isinstance(wanted, (Map, Record)):
        element.refuse("'new' creates only arrays, maps and records")
    parts = {key: scope.compile(one) for key, one in given.members()}
    if isinstance(wanted, Record) and parts.keys() != wanted.fields.keys():
        element.refuse(f"the type {wanted} has the fields {', '.join(wanted.fields)}")
    types = wanted.fields if isinstance(wanted, Record) else dict.fromkeys(sorted(parts), wanted.values)
    fields = {key: coerced(parts[key], kind, given.child(key)) for key, kind in types.items()}
    kind = wanted if isinstance(wanted, Record) else Map(wanted.values, tuple(sorted(parts)))
    if all(node.is_constant for node in fields.values()):
        return constant_node(wanted, {key: node.constant for key, node in fields.items()})
    for node in fields.values():
        computable(node, element)
    return Node(kind, lambda frame: Fields(frame.rows, {key: node.evaluate(frame) for key, node in fields.items()}))


def stacked(nodes: Sequence[Node], items: Type, element: Element) -> Node:
    """An array of the values of these nodes, of which there is at least one; all of them have the type `items`."""
    for node in nodes:
        if not accepts(nodes[0].type, node.type):
            element.refuse("the items are maps with different keys, which is not supported")

    def evaluate(frame: Frame) -> Column:
        columns, rows = [node.evaluate(frame) for node in nodes], np.arange(frame.rows)
        places = [rows * len(nodes) + place for place in range(len(nodes))]
        return Lists(np.full(frame.rows, len(nodes), np.int64), merged(list(zip(places, columns, strict=True))))

    return Node(Array(nodes[0].type if nodes else items), evaluate)


FORMS: dict[str, Callable[[Element, Scope], Node]] = {
    "do": _do,
    "let": _stray_let,
    "if": compile_if,
    "cond": compile_cond,
    "ifnotnull": compile_if_not_null,
    "cast": compile_cast,
    "upcast": _upcast,
    "attr": _attr,
    "cell": _cell,
    "new": _new,
}


def _unsupported(name: str) -> Callable[[Element, Scope], Node]:
    def refuse(element: Element, scope: Scope) -> Node:
        del scope
        return element.refuse(f"{name!r} is not supported")

    return refuse


_REFUSED = (
    *("set", "while", "until", "for", "foreach", "forkey", "forval", "pool", "pool-to", "pool-del", "cell-to", "to"),
    *("pack", "unpack", "try", "log", "error"),
)
FORMS.update({name: _unsupported(name) for name in _REFUSED})
