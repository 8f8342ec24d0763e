"""Compiled expressions, and the names that expressions may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import numpy as np

from models.scorers.pfa.avro_types import (
    Array,
    Map,
    Record,
    Type,
    TypeTable,
    Union,
    accepts,
    is_recursive,
    refined,
)
from models.scorers.pfa.columns import Column, Fields, Lists, Scalars, Tagged, dtype_of, filler, merged, repeated
from models.scorers.pfa.constants import Value, column_of, converted, count_values, member_place, value_type
from models.scorers.pfa.elements import Element
from models.scorers.pfa.frames import Frame

MOST_EXPRESSIONS = 500_000
MOST_CALLS = 50
# Larger constants are not repeated for each row.
MOST_REPEATED = 10_000

_SLOTS = count()


class _Unknown:
    """Marks a node whose value is not known in advance."""


UNKNOWN = _Unknown()


@dataclass
class InputArray:
    """An array of the input, with the lengths that functions require."""

    widths: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Node:
    """A compiled expression.

    Attributes:
      type: of its values.
      evaluate: computes the values for the rows of a frame.
      constant: the value, if it is known in advance.
      slot: the slot of the variable, if the node is only a variable.
      test: the comparison, if the node is one that can become part of a flat tree.
      tree: the tree that rows descend, if the node does only that, and the tree can be descended together with others.
      sources: for a record or array of the input, what is required of its arrays, by field ("" for the array itself).
    """

    type: Type
    evaluate: Callable[[Frame], Column]
    constant: Value = UNKNOWN
    slot: int | None = None
    test: Any = None
    tree: Any = None
    sources: Mapping[str, InputArray] = field(default_factory=dict)

    @property
    def is_constant(self) -> bool:
        """Whether its value is known in advance."""
        return self.constant is not UNKNOWN


def constant_node(wanted: Type, value: Value) -> Node:
    """A node of a known value."""
    kind = value_type(wanted, value)

    def evaluate(frame: Frame) -> Column:
        return repeated(column_of(kind, [value]), frame.rows)

    return Node(kind, evaluate, value)


def variable_node(kind: Type, sources: Mapping[str, InputArray] | None = None) -> Node:
    """A node of a new variable."""
    slot = next(_SLOTS)
    return Node(kind, lambda frame: frame.variable(slot), slot=slot, sources=sources or {})


def computable(node: Node, element: Element) -> Node:
    """Returns the node if its values can be a column; raises ModelLoadError otherwise."""
    if is_recursive(node.type):
        element.refuse(f"values of the recursive type {node.type} are supported only as the model of a function")
    if node.is_constant and count_values(node.constant) > MOST_REPEATED:
        element.refuse(
            f"a constant of more than {MOST_REPEATED} values is supported only as the model of a function, or where "
            "one of them is picked by its index or key"
        )
    return node


def coerced(node: Node, wanted: Type, element: Element) -> Node:
    """The node with its values converted to a wanted type; raises ModelLoadError if that type does not accept them."""
    if not accepts(wanted, node.type):
        element.refuse(f"a value of the type {wanted} is expected, not {node.type}")
    target = refined(wanted, node.type)
    if node.type == target:
        return node
    if node.is_constant:
        return constant_node(target, converted(node.constant, node.type, target))
    return Node(target, lambda frame: coerced_column(node.evaluate(frame), node.type, target), sources=node.sources)


def coerced_column(column: Column, found: Type, wanted: Type) -> Column:
    """Converts a column to a type that accepts its values."""
    if found == wanted:
        return column
    if isinstance(column, Tagged) and isinstance(found, Union):
        parts = []
        for place, member in enumerate(found.members):
            rows = np.flatnonzero(column.tags == place)
            parts.append((rows, coerced_column(column.members[place].take(rows), member, wanted)))
        return merged(parts)
    if isinstance(wanted, Union):
        mine = member_place(wanted, found)
        members = [filler(member, column.rows) for member in wanted.members]
        members[mine] = coerced_column(column, found, wanted.members[mine])
        return Tagged(np.full(column.rows, mine, np.int64), tuple(members))
    if isinstance(column, Lists) and isinstance(found, Array) and isinstance(wanted, Array):
        return Lists(column.lengths, coerced_column(column.items, found.items, wanted.items))
    if isinstance(column, Fields) and isinstance(found, Map) and isinstance(wanted, Map):
        parts_by_key = {key: coerced_column(one, found.values, wanted.values) for key, one in column.columns.items()}
        return Fields(column.rows, parts_by_key)
    if isinstance(column, Scalars) and not isinstance(wanted, Record):
        return Scalars(column.values.astype(dtype_of(wanted)))
    return column


@dataclass(frozen=True)
class Function:
    """A function that is passed to another function.

    Attributes:
      element: its place in the document.
      apply: compiles a call with these arguments.
      parameters: the number of its parameters; None for a function of the library.
    """

    element: Element
    apply: Callable[[Sequence[Node]], Node]
    parameters: int | None


@dataclass
class Program:
    """What is visible everywhere in a document.

    Attributes:
      types: the declared types.
      cells: by name.
      functions: the document's own functions by name.
      compile: compiles any expression.
      expressions: the number of expressions compiled so far.
    """

    types: TypeTable
    cells: Mapping[str, Node]
    functions: Mapping[str, Element]
    compile: Callable[[Element, Scope], Node]
    expressions: int = 0

    def count(self, element: Element) -> None:
        """Counts an expression; raises ModelLoadError when there are too many."""
        self.expressions += 1
        if self.expressions > MOST_EXPRESSIONS:
            element.refuse(f"the calls of functions expand to more than {MOST_EXPRESSIONS} expressions")


@dataclass(frozen=True)
class Scope:
    """The names that an expression may use.

    Attributes:
      program: what is visible everywhere.
      symbols: variables, parameters and the input.
      calls: the functions of the document whose bodies enclose this place.
    """

    program: Program
    symbols: dict[str, Node] = field(default_factory=dict)
    calls: tuple[str, ...] = ()

    def compile(self, element: Element) -> Node:
        """Compiles an expression here; raises ModelLoadError if it is not supported."""
        self.program.count(element)
        return self.program.compile(element, self)

    def inner(self, symbols: Mapping[str, Node] | None = None) -> Scope:
        """A scope inside this one, with more symbols."""
        return replace(self, symbols={**self.symbols, **(symbols or {})})

    def sealed(self, name: str, element: Element) -> Scope:
        """The scope of a function of the document, which sees none of these symbols.

        Raises:
          ModelLoadError: the function calls itself, or the calls are nested too deeply.
        """
        if name in self.calls:
            element.refuse(f"function {name!r} calls itself, which is not supported")
        if len(self.calls) >= MOST_CALLS:
            element.refuse(f"calls of functions are nested more than {MOST_CALLS} levels deep")
        return Scope(self.program, {}, (*self.calls, name))


def bound(arguments: Mapping[str, Node], element: Element, compile_body: Callable[[Mapping[str, Node]], Node]) -> Node:
    """A body whose symbols are bound to arguments; each argument is computed once.

    Args:
      arguments: by symbol.
      element: of the call.
      compile_body: compiles the body with these symbols.
    """
    symbols, computed = {}, []
    for name, argument in arguments.items():
        if argument.is_constant or argument.slot is not None:
            symbols[name] = argument
        else:
            symbols[name] = variable_node(computable(argument, element).type, argument.sources)
            computed.append((symbols[name].slot, argument))
    body = compile_body(symbols)
    if not computed or body.is_constant:
        return body

    def evaluate(frame: Frame) -> Column:
        for slot, argument in computed:
            frame.set(slot, argument.evaluate(frame))  # type: ignore[arg-type]
        return body.evaluate(frame)

    return replace(body, evaluate=evaluate, slot=None, tree=None)
