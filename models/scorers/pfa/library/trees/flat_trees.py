"""Trees that compare numbers with thresholds; all rows descend all trees of a forest at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.scorers.flat_trees import FlatForest, FlatNode, flat_forest, split_node
from models.scorers.pfa.avro_types import NUMBERS, Array
from models.scorers.pfa.columns import Bools, Column, Lists, Places, Scalars, Tagged, check_items, concatenated
from models.scorers.pfa.frames import Frame
from models.scorers.pfa.library.trees.comparisons import Comparison
from models.scorers.pfa.library.trees.nodes import Tree, TreeNode
from models.scorers.pfa.nodes import Node

# Integers beyond this are not exact as float64.
_EXACT = 2**53


@dataclass(frozen=True)
class FlatTree:
    """A tree that can be descended together with others.

    Attributes:
      tree: the same tree in its general form, for rows with nulls or NaN.
      nodes: the inner nodes, followed by the leaves.
      tests: one of the comparisons of each compared field.
      datum: the node of the record.
    """

    tree: Tree
    nodes: tuple[FlatNode, ...]
    tests: Mapping[str, Comparison]
    datum: Node


def flat_tree(datum: Node, tree: Tree) -> FlatTree | None:
    """The tree in this form; None if it cannot have it."""
    tests = [_flat_test(node, datum) for node in tree.nodes]
    comparisons = [test for test in tests if test is not None]
    if len(comparisons) < len(tests):
        return None
    inner = tuple(
        split_node(test.field, test.operator, float(test.value), *_children(tree, node))
        for test, node in zip(comparisons, tree.nodes, strict=True)
    )
    return FlatTree(tree, (*inner, *[FlatNode()] * tree.leaves.rows), {test.field: test for test in comparisons}, datum)


def _flat_test(node: TreeNode, datum: Node) -> Comparison | None:
    """The node's comparison of a number of the datum with an exact threshold; None if it is anything else."""
    test: Comparison | None = node.test.test
    if test is None or test.datum is not datum or test.kind not in NUMBERS or test.kind.name == "long":
        return None
    exact = isinstance(test.value, float) or (isinstance(test.value, int) and abs(test.value) <= _EXACT)
    return test if exact and test.operator in ("<", "<=", ">", ">=") else None


def _children(tree: Tree, node: TreeNode) -> tuple[int, int]:
    passed, failed = (way if way >= 0 else len(tree.nodes) - 1 - way for way in node.ways[:2])
    return passed, failed


@dataclass(frozen=True)
class Walk:
    """Trees that rows descend together."""

    trees: tuple[FlatTree, ...]
    tests: Mapping[str, Comparison]
    forest: FlatForest

    @classmethod
    def of(cls, trees: Sequence[FlatTree]) -> Walk:
        """The walk through trees of the same datum."""
        tests = {name: test for tree in trees for name, test in tree.tests.items()}
        return cls(tuple(trees), tests, flat_forest([tree.nodes for tree in trees]))

    def leaves(self, frame: Frame) -> Places:
        """The leaf of each row in each tree: [trees, rows]."""
        matrix, complete = self._values(frame)
        found, right = self.forest.walk(matrix)
        for number, tree in enumerate(self.trees):
            found[number] -= len(tree.tree.nodes)
            rest = np.flatnonzero(~(right[number] & complete))
            if len(rest):
                found[number, rest] = tree.tree.walk(frame.subset(rest))
        return found

    def _values(self, frame: Frame) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float64]], Bools]:
        """The compared fields as [rows, fields], and which rows contain no null."""
        values, complete = np.empty((len(self.forest.fields), frame.rows)), np.ones(frame.rows, bool)
        for place, name in enumerate(self.forest.fields):
            column = self.tests[name].evaluate(frame)
            if isinstance(column, Tagged):
                complete &= ~self.tests[name].unknown(column)
                column = next(one for one in column.members if isinstance(one, Scalars))
            values[place] = column.values if isinstance(column, Scalars) else np.nan
        return np.ascontiguousarray(values.T), complete


def walked_together(nodes: Sequence[Node]) -> Node | None:
    """An array of the results of these trees, if all of them are flat trees of the same record; otherwise None."""
    trees = [node.tree for node in nodes if isinstance(node.tree, FlatTree)]
    first = trees[0].datum.slot if trees else None
    if first is None or len(trees) < len(nodes) or any(tree.datum.slot != first for tree in trees):
        return None
    walk, values = Walk.of(trees), concatenated([tree.tree.leaves for tree in trees])
    offsets = np.cumsum([0, *(tree.tree.leaves.rows for tree in trees[:-1])])

    def evaluate(frame: Frame) -> Column:
        check_items(frame.rows * len(trees))
        places = walk.leaves(frame) + offsets[:, None]
        return Lists(np.full(frame.rows, len(trees), np.int64), values.take(places.T.ravel()))

    return Node(Array(nodes[0].type), evaluate)
