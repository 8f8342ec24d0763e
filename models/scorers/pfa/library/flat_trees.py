"""Trees that compare numbers with thresholds, as arrays: all rows go down one level at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.scorers.pfa.avro_types import NUMBERS
from models.scorers.pfa.columns import Bools, Places, Scalars, Tagged
from models.scorers.pfa.frames import Frame
from models.scorers.pfa.library.tree_tests import Comparison
from models.scorers.pfa.nodes import Node

if TYPE_CHECKING:
    from models.scorers.pfa.library.trees import TreeNode

# Whole numbers beyond this are not exact as float64.
_EXACT = 2**53


@dataclass(frozen=True)
class FlatTree:
    """A tree; arrays have an item for each node and behind them for each leaf, which leads to itself.

    Attributes:
      tests: for each field that is compared, one of its comparisons.
      field: places in `tests`.
      threshold: numbers that are not above it go to the left.
      children: [2 * items]: the children of item i are at 2 i (right) and 2 i + 1 (left).
      depth: the number of levels.
      nodes: how many items are no leaves.
    """

    tests: tuple[Comparison, ...]
    field: Any
    threshold: Any
    children: Any
    depth: int
    nodes: int

    def walk(self, frame: Frame) -> tuple[Places, Bools]:
        """The leaf of each row, and for which rows that is right: those without null and NaN."""
        matrix = np.empty((frame.rows, len(self.tests)))
        right = np.ones(frame.rows, bool)
        for place, test in enumerate(self.tests):
            column = test.evaluate(frame)
            if isinstance(column, Tagged):
                right &= ~test.unknown(column)
                column = next(one for one in column.members if isinstance(one, Scalars))
            matrix[:, place] = column.values if isinstance(column, Scalars) else np.nan
        right &= ~np.isnan(matrix).any(axis=1)
        flat, starts = matrix.ravel(), np.arange(frame.rows) * len(self.tests)
        item: Places = np.zeros(frame.rows, np.intp)
        for _ in range(self.depth):
            left = flat[starts + self.field[item]] <= self.threshold[item]
            item = self.children[2 * item + left]
        return item - self.nodes, right


def flat_tree(datum: Node, nodes: Sequence[TreeNode]) -> FlatTree | None:
    """The tree as arrays; None if it has another form."""
    tests = [node.test.test for node in nodes]
    if not all(isinstance(test, Comparison) and _is_flat(test, datum) for test in tests):
        return None
    first = {test.field: test for test in reversed(tests)}
    fields = {name: place for place, name in enumerate(first)}
    leaves = 1 + max(-way for node in nodes for way in node.ways)
    size = len(nodes) + leaves
    field, threshold = np.zeros(size, np.intp), np.zeros(size)
    children = np.repeat(np.arange(size), 2)
    for number, (node, test) in enumerate(zip(nodes, tests, strict=True)):
        passed, failed = (way if way >= 0 else len(nodes) - 1 - way for way in node.ways[:2])
        less, closed = test.operator in ("<", "<="), test.operator in ("<=", ">")
        field[number] = fields[test.field]
        value = float(test.value)
        threshold[number] = value if closed else np.nextafter(value, -np.inf)
        children[2 * number + 1], children[2 * number] = (passed, failed) if less else (failed, passed)
    return FlatTree(tuple(first.values()), field, threshold, children, _depth(nodes), len(nodes))


def _is_flat(test: Comparison, datum: Node) -> bool:
    exact = isinstance(test.value, float) or (isinstance(test.value, int) and abs(test.value) <= _EXACT)
    same = test.datum is datum and test.kind in NUMBERS and test.kind.name != "long"
    return same and test.operator in ("<", "<=", ">", ">=") and exact


def _depth(nodes: Sequence[TreeNode]) -> int:
    depths = [1] * len(nodes)
    for place, node in enumerate(nodes):  # each node is before its children
        for way in node.ways:
            if way >= 0:
                depths[way] = depths[place] + 1
    return max(depths)
