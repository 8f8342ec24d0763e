"""Binary trees as arrays: all rows go down one level at a time.

Most trees that libraries export have nodes with two children, which compare one number with a threshold, one way and
the other. For rows that have all values, every order of tests and every strategy for missing values is then the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.scorers.pmml.columns import STRING, Bools, Frame, Places, Scope
from models.scorers.pmml.predicates import Always, Comparison

if TYPE_CHECKING:
    from models.scorers.pmml.trees import Node

_OPPOSITE = {"lessThan": "greaterOrEqual", "lessOrEqual": "greaterThan"}
_OPPOSITE.update({value: key for key, value in list(_OPPOSITE.items())})


@dataclass(frozen=True)
class FlatTree:
    """A binary tree; arrays have an item for each node, and leaves have themselves as children.

    Attributes:
      fields: the fields that are compared.
      field: places in `fields`.
      threshold: what they are compared with.
      children: [2 * nodes]: the children of node i are at 2 i (right) and 2 i + 1 (left).
      depth: the number of levels below the root.
    """

    fields: tuple[str, ...]
    field: Any
    threshold: Any
    children: Any
    depth: int

    def walk(self, frame: Frame) -> tuple[Places, Bools]:
        """The leaf of each row, and which rows have all values (only theirs are right)."""
        columns = [frame.column(field).values for field in self.fields]
        matrix = np.stack(columns, axis=1).ravel() if columns else np.zeros(0)
        complete = np.asarray(~np.isnan(matrix.reshape(frame.rows, len(columns))).any(axis=1), np.bool_)
        node: Places = np.zeros(frame.rows, np.intp)
        starts = np.arange(frame.rows) * len(columns)
        for _ in range(self.depth):
            left = matrix[starts + self.field[node]] <= self.threshold[node]
            node = self.children[2 * node + left]
        return node, complete


def flat_tree(nodes: Sequence[Node], scope: Scope) -> FlatTree | None:
    """The tree as arrays; None if it has another form."""
    tests = [_test(nodes, node, scope) for node in nodes]
    root = nodes[0].predicate
    inner = [test for node, test in zip(nodes, tests, strict=True) if node.children]
    if any(test is None for test in inner) or not (isinstance(root, Always) and root.value):
        return None
    fields = tuple(dict.fromkeys(test[0] for test in inner if test is not None))
    places = {field: place for place, field in enumerate(fields)}
    children = np.repeat(np.arange(len(nodes)), 2)
    field, threshold = np.zeros(len(nodes), np.intp), np.zeros(len(nodes))
    for number, test in enumerate(tests):
        if test is not None:
            field[number], threshold[number] = places[test[0]], test[1]
            children[2 * number + 1], children[2 * number] = test[2:]
    return FlatTree(fields, field, threshold, children, _depth(nodes))


def _test(nodes: Sequence[Node], node: Node, scope: Scope) -> tuple[str, float, int, int] | None:
    """The field, the largest number that goes to the left, and the left and right child."""
    if len(node.children) != 2:
        return None
    first, second = (nodes[child].predicate for child in node.children)
    if not isinstance(first, Comparison) or first.operator not in _OPPOSITE or scope.fields[first.field] == STRING:
        return None
    opposite = Comparison(first.field, _OPPOSITE[first.operator], first.value)
    if second != opposite and not (isinstance(second, Always) and second.value):
        return None
    less = first.operator.startswith("less")
    left, right = node.children if less else reversed(node.children)
    value = float(first.value)
    closed = first.operator in ("lessOrEqual", "greaterThan")
    return first.field, value if closed else float(np.nextafter(value, -np.inf)), left, right


def _depth(nodes: Sequence[Node]) -> int:
    depths = [0] * len(nodes)
    for place, node in enumerate(nodes):  # each node is before its children
        for child in node.children:
            depths[child] = depths[place] + 1
    return max(depths)
