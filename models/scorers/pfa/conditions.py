"""The expressions that branch on a condition, on null, or on the type of a value."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from models.scorers.pfa.avro_types import (
    BOOLEAN,
    NULL,
    Type,
    Union,
    accepts,
    is_nullable,
    without_null,
)
from models.scorers.pfa.blocks import NOTHING, choice, compile_block
from models.scorers.pfa.columns import Bools, Column, Nulls, Scalars, Tagged, filler, merged
from models.scorers.pfa.elements import Element
from models.scorers.pfa.frames import Frame
from models.scorers.pfa.nodes import (
    Node,
    Scope,
    bound,
    coerced,
    coerced_column,
)


def null_rows(column: Column, kind: Type) -> Bools:
    """Which values of a union are null."""
    if not isinstance(column, Tagged) or not isinstance(kind, Union):
        return np.zeros(column.rows, bool)
    return np.asarray(column.tags == kind.members.index(NULL), np.bool_)


def compile_if(element: Element, scope: Scope) -> Node:
    """if, then and else; without else, the value is null."""
    element.check("if then else")
    test = coerced(scope.compile(element.child("if")), BOOLEAN, element.child("if"))
    then = compile_block(element.need("then"), scope)
    if "else" not in element.value:
        return choice([test], [_discarded(then), NOTHING], element)
    return choice([test], [then, compile_block(element.child("else"), scope)], element)


def _discarded(node: Node) -> Node:
    """The node with its value replaced by null, which PFA gives if there is no else."""

    def evaluate(frame: Frame) -> Column:
        node.evaluate(frame)
        return Nulls(frame.rows)

    return Node(NULL, evaluate)


def compile_cond(element: Element, scope: Scope) -> Node:
    """Several conditions, each with its branch."""
    element.check("cond else")
    tests, branches = [], []
    for one in element.child("cond").items():
        one.check("if then")
        tests.append(coerced(scope.compile(one.need("if")), BOOLEAN, one))
        branches.append(compile_block(one.need("then"), scope))
    if not tests:
        element.refuse("cond must contain a condition")
    if "else" not in element.value:
        return choice(tests, [*map(_discarded, branches), NOTHING], element)
    return choice(tests, [*branches, compile_block(element.child("else"), scope)], element)


def compile_if_not_null(element: Element, scope: Scope) -> Node:
    """A branch for the rows in which none of the given values is null; inside it, their types do not include null."""
    element.check("ifnotnull then else")
    given = {name: scope.compile(one) for name, one in element.child("ifnotnull").members()}
    for name, node in given.items():
        if not is_nullable(node.type):
            element.refuse(f"{name!r} is of the type {node.type}, which is not a union with null")

    def body(symbols: dict[str, Node]) -> Node:
        inner = {name: Node(without_null(node.type), _narrowed(node)) for name, node in symbols.items()}  # type: ignore[arg-type]
        then = bound(inner, element, lambda known: compile_block(element.need("then"), scope.inner(known)))
        present = Node(BOOLEAN, lambda frame: _all_present(list(symbols.values()), frame))
        if "else" not in element.value:
            return choice([present], [_discarded(then), NOTHING], element)
        return choice([present], [then, compile_block(element.child("else"), scope)], element)

    return bound(given, element, body)  # type: ignore[arg-type]


def _all_present(nodes: Sequence[Node], frame: Frame) -> Column:
    present = np.ones(frame.rows, bool)
    for node in nodes:
        present &= ~null_rows(node.evaluate(frame), node.type)
    return Scalars(present)


def _narrowed(node: Node) -> Callable[[Frame], Column]:
    """The values of a union without null, for the rows that have a value."""
    union = node.type if isinstance(node.type, Union) else Union((node.type,))
    rest = [place for place, member in enumerate(union.members) if member != NULL]

    def evaluate(frame: Frame) -> Column:
        column = node.evaluate(frame)
        if not isinstance(column, Tagged):
            return column
        if len(rest) == 1:
            return column.members[rest[0]]
        tags = np.searchsorted(np.array(rest), column.tags)
        return Tagged(np.minimum(tags, len(rest) - 1), tuple(column.members[place] for place in rest))

    return evaluate


def compile_cast(element: Element, scope: Scope) -> Node:
    """A branch for each type that the value of a union may have."""
    element.check("cast cases partial")
    given = scope.compile(element.child("cast"))
    partial = element.value.get("partial", False) is True
    members = given.type.members if isinstance(given.type, Union) else (given.type,)

    def body(symbols: dict[str, Node]) -> Node:
        value, left = symbols["value"], list(members)
        tests, branches = [], []
        for one in element.need("cases").items():
            one.check("as named do")
            wanted = scope.program.types.read(one.need("as"))
            mine = [member for member in left if accepts(wanted, member)]
            if not mine:
                one.refuse(
                    f"the type {wanted} is not one of the remaining types: {', '.join(map(str, left)) or 'none'}"
                )
            left = [member for member in left if member not in mine]
            tests.append(_is_one_of(value, members, mine))
            picked = Node(wanted, _picked(value, members, wanted))
            name = one.need("named").text()
            branches.append(
                bound({name: picked}, one, lambda known, one=one: compile_block(one.need("do"), scope.inner(known)))  # type: ignore[misc]
            )
        if left and not partial:
            element.refuse(f"there is no case for the type {left[0]}")
        if not left and not partial:
            tests.pop()
        return choice(tests, [*branches, NOTHING] if partial or left else branches, element)

    return bound({"value": Node(given.type, given.evaluate)}, element, body)  # type: ignore[arg-type]


def _is_one_of(node: Node, members: Sequence[Type], mine: Sequence[Type]) -> Node:
    tags = [place for place, member in enumerate(members) if member in mine]

    def evaluate(frame: Frame) -> Column:
        column = node.evaluate(frame)
        return Scalars(np.isin(column.tags, tags) if isinstance(column, Tagged) else np.ones(frame.rows, bool))

    return Node(BOOLEAN, evaluate)


def _picked(node: Node, members: Sequence[Type], wanted: Type) -> Callable[[Frame], Column]:
    def evaluate(frame: Frame) -> Column:
        column = node.evaluate(frame)
        if not isinstance(column, Tagged):
            return coerced_column(column, members[0], wanted)
        parts = []
        for place, member in enumerate(members):
            rows = np.flatnonzero(column.tags == place)
            if len(rows):
                parts.append((rows, coerced_column(column.members[place].take(rows), member, wanted)))
        return merged(parts) if parts else filler(wanted, 0)

    return evaluate
