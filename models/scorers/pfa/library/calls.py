"""Calls of library functions: their arguments, and the required types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.scorers.pfa.avro_types import DOUBLE, INT, LONG, RANGES, Array, Map, Type, accepts, broadest, refined
from models.scorers.pfa.columns import Bools, Column, Lists, Scalars
from models.scorers.pfa.constants import Value
from models.scorers.pfa.elements import Element
from models.scorers.pfa.frames import Frame
from models.scorers.pfa.nodes import Function, Node, coerced, computable, constant_node

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Call:
    """A call.

    Attributes:
      name: the name of the function.
      element: its place in the document.
      arguments: compiled expressions and functions.
    """

    name: str
    element: Element
    arguments: tuple[Node | Function, ...]

    def refuse_unless(self, fine: bool, reason: str) -> None:
        """Raises ModelLoadError for this call unless the condition holds."""
        if not fine:
            self.element.refuse(f"{self.name}: {reason}")

    def check_count(self, *counts: int) -> None:
        """Raises ModelLoadError unless the number of arguments is one of these."""
        wanted = " or ".join(map(str, counts))
        self.refuse_unless(len(self.arguments) in counts, f"{wanted} arguments are expected")

    def node(self, place: int, wanted: Type | None = None) -> Node:
        """An argument that is a value; converted to the wanted type, if there is one."""
        argument = self.arguments[place]
        if not isinstance(argument, Node):
            self.element.refuse(f"{self.name}: argument {place + 1} must be a value, not a function")
        return argument if wanted is None else coerced(argument, wanted, self.element)

    def column_node(self, place: int, wanted: Type | None = None) -> Node:
        """An argument whose values can be a column."""
        return computable(self.node(place, wanted), self.element)

    def vector(self, place: int, width: int) -> Node:
        """An argument that is an array of doubles of a known length."""
        node = self.column_node(place, NUMBER_ARRAY)
        if "" in node.sources:
            node.sources[""].widths.add(width)
        return node

    def constant(self, place: int) -> tuple[Type, Value]:
        """The type and value of an argument that must be known in advance."""
        node = self.node(place)
        self.refuse_unless(node.is_constant, f"argument {place + 1} must be a cell or a literal")
        return node.type, node.constant

    def items_type(self, node: Node) -> Type:
        """The type of the items of an array; raises ModelLoadError when the node gives something else."""
        if not isinstance(node.type, Array):
            self.element.refuse(f"{self.name}: an array is expected, not a value of the type {node.type}")
        return node.type.items

    def known_items(self, place: int) -> list[Node] | None:
        """The items of an argument that is an array known in advance; None if it is not known."""
        node = self.node(place)
        kind = self.items_type(node)
        return [constant_node(kind, one) for one in node.constant] if node.is_constant else None

    def function(self, place: int) -> Function:
        """An argument that is a function."""
        argument = self.arguments[place]
        if not isinstance(argument, Function):
            self.element.refuse(f"{self.name}: argument {place + 1} must be a function")
        return argument

    def fail(self, frame: Frame, rows: Bools, reason: str) -> None:
        """Records a runtime error of this function."""
        frame.fail(rows, f"{self.name}: {reason}")


@dataclass(frozen=True)
class Wild:
    """A type variable: the same type wherever a signature uses its name; it may be restricted to some types."""

    name: str
    among: tuple[Type, ...] = ()


Pattern = Any  # a type whose parts may be a Wild


@dataclass(frozen=True)
class Signature:
    """The types of the arguments and of the result."""

    takes: tuple[Pattern, ...]
    gives: Pattern

    def resolved(self, types: Sequence[Type]) -> tuple[list[Type], Type] | None:
        """The types of arguments and result if the arguments have these types; None if they do not fit."""
        found: dict[str, list[Type]] = {}
        if len(types) != len(self.takes):
            return None
        if not all(_matches(one, kind, found) for one, kind in zip(self.takes, types, strict=True)):
            return None
        wide = {name: broadest(kinds) for name, kinds in found.items()}
        chosen = {name: kind for name, kind in wide.items() if kind is not None}
        if len(chosen) < len(wide):
            return None
        takes = [refined(_filled(one, chosen), kind) for one, kind in zip(self.takes, types, strict=True)]
        return takes, _filled(self.gives, chosen)


def _matches(pattern: Pattern, kind: Type, found: dict[str, list[Type]]) -> bool:
    if isinstance(pattern, Wild):
        found.setdefault(pattern.name, []).append(kind)
        return not pattern.among or kind in pattern.among
    if isinstance(pattern, Array) and isinstance(kind, Array):
        return _matches(pattern.items, kind.items, found)
    if isinstance(pattern, Map) and isinstance(kind, Map):
        return _matches(pattern.values, kind.values, found)
    return accepts(pattern, kind)


def _filled(pattern: Pattern, chosen: dict[str, Type]) -> Any:
    if isinstance(pattern, Wild):
        return chosen[pattern.name]
    if isinstance(pattern, Array):
        return Array(_filled(pattern.items, chosen))
    return pattern


@dataclass(frozen=True)
class Site:
    """The context in which a function computes: its call, the rows, and the resolved types."""

    call: Call
    frame: Frame
    takes: Sequence[Type]
    gives: Type

    def fail(self, rows: Bools, reason: str) -> None:
        """Records a runtime error of the function for some rows."""
        self.call.fail(self.frame, rows, reason)

    def in_range(self, values: npt.NDArray[Any], overflown: Bools | None = None) -> Scalars:
        """The numbers as values of the result's type; a number beyond its range is an error.

        Args:
          values: int64, or numbers of another type that never overflow.
          overflown: which numbers are wrong because they exceeded int64.
        """
        if self.gives in (INT, LONG):
            least, most = RANGES[self.gives]
            beyond = (values < least) | (values > most)
            self.fail(beyond if overflown is None else beyond | overflown, f"{self.gives} overflow")
        return Scalars(values)


Compute = Callable[..., Column]


def of_columns(compute: Compute, *signatures: Signature) -> Callable[[Call], Node]:
    """A function that computes with the columns of its arguments.

    Args:
      compute: takes a Site and one column per argument.
      signatures: the first one that fits is used.
    """

    def compile_call(call: Call) -> Node:
        nodes = [call.column_node(place) for place in range(len(call.arguments))]
        types = [node.type for node in nodes]
        fitting = (one.resolved(types) for one in signatures)
        found = next((one for one in fitting if one is not None), None)
        if found is None:
            call.element.refuse(f"{call.name} does not take arguments of the types {', '.join(map(str, types))}")
        takes, gives = found
        given = [coerced(node, kind, call.element) for node, kind in zip(nodes, takes, strict=True)]

        def evaluate(frame: Frame) -> Column:
            return compute(Site(call, frame, takes, gives), *(node.evaluate(frame) for node in given))

        return Node(gives, evaluate)

    return compile_call


def of_values(compute: Callable[..., Any], *signatures: Signature) -> Callable[[Call], Node]:
    """A function of scalars that cannot fail; `compute` maps arrays of values to an array of values."""
    return of_columns(lambda site, *columns: Scalars(compute(*(one.values for one in columns))), *signatures)


def matrix(call: Call, frame: Frame, column: Column, width: int, reason: str) -> Floats:
    """Arrays of numbers as [rows, width]; rows with another length fail, and become zeros."""
    if not isinstance(column, Lists) or not isinstance(column.items, Scalars):
        raise TypeError("not a column of arrays of numbers")
    wrong = column.lengths != width
    if not wrong.any():
        return column.items.values.reshape(frame.rows, width)
    call.fail(frame, wrong, reason)
    result = np.zeros((frame.rows, width))
    right = column.take(np.flatnonzero(~wrong))
    result[~wrong] = right.items.values.reshape(-1, width) if isinstance(right.items, Scalars) else 0
    return result


def lists_of(values: Floats) -> Lists:
    """A matrix [rows, width] as a column of arrays."""
    return Lists(np.full(len(values), values.shape[1], np.int64), Scalars(np.asarray(values, np.float64).ravel()))


def doubles(column: Column) -> Floats:
    """The numbers of a column of doubles."""
    if not isinstance(column, Scalars):
        raise TypeError("not a column of numbers")
    return np.asarray(column.values, np.float64)


NUMBER_ARRAY = Array(DOUBLE)
