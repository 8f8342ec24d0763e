"""Binary trees as arrays: all rows descend all trees of a forest, one level at a time.

Most trees that libraries export have nodes with two children, one for each outcome of comparing a number with a
threshold. Formats that allow other trees use this module for the rows and trees on which all readings agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

# The number of rows times trees that descend together, chosen so that their arrays stay in the processor's cache.
_BLOCK = 16_384
LEAF = -1


@dataclass(frozen=True)
class FlatNode:
    """A node of a tree: numbers that are not above the threshold go to the left.

    Attributes:
      field: the name of the compared field; empty for a leaf.
      threshold: the number to compare it with.
      left, right: the indices of the children among the nodes of the tree; LEAF for a leaf.
    """

    field: str = ""
    threshold: float = 0.0
    left: int = LEAF
    right: int = LEAF


@dataclass(frozen=True)
class FlatForest:
    """Trees as arrays with one item for each node; the two children of a node are adjacent.

    Attributes:
      fields: the names of the compared fields.
      uses: [trees, fields], whether a tree compares a field.
      roots: [trees], the items of the roots.
      depths: [trees], the number of levels below the root.
      field: indices into `fields`.
      threshold: numbers that are not above it go to the left; infinity in a leaf.
      left: the item of the left child, before that of the right one; a leaf has itself.
      places: the index of each item's node in its tree.
    """

    fields: tuple[str, ...]
    uses: Bools
    roots: Places
    depths: Places
    field: Places
    threshold: Floats
    left: Places
    places: Places

    def walk(self, matrix: Floats) -> tuple[Places, Bools]:
        """The index of the leaf that each row reaches in each tree.

        Args:
          matrix: [rows, fields], NaN where a value is missing.

        Returns:
          The indices, and whether they are valid: whether the row has all values that the tree compares. Both are
          [trees, rows].
        """
        rows, trees = len(matrix), len(self.roots)
        found = np.empty((trees, rows), np.intp)
        values, starts = np.ascontiguousarray(matrix).ravel(), np.arange(rows) * len(self.fields)
        size = max(1, _BLOCK // max(rows, 1))
        for first in range(0, trees, size):
            part = slice(first, first + size)
            found[part] = self._descend(values, starts, part)
        missing = np.isnan(matrix)
        if not missing.any():
            return found, np.ones((trees, rows), bool)
        return found, np.asarray(self.uses.astype(np.int64) @ missing.T.astype(np.int64) == 0, np.bool_)

    def _descend(self, values: Floats, starts: Places, part: slice) -> Places:
        """The leaves that the rows reach in some of the trees: [trees, rows]."""
        roots = self.roots[part]
        item = np.repeat(roots, len(starts))
        if len(self.fields):
            begins = np.tile(starts, len(roots))
            for _ in range(int(self.depths[part].max())):
                right = values.take(begins + self.field.take(item)) > self.threshold.take(item)
                item = self.left.take(item) + right
        return self.places.take(item).reshape(len(roots), len(starts))


def flat_forest(trees: Sequence[Sequence[FlatNode]]) -> FlatForest:
    """Trees as arrays; the first node of each is its root, and each node is the child of at most one other."""
    fields = {
        name: place for place, name in enumerate({node.field: 0 for tree in trees for node in tree if node.field})
    }
    uses = np.zeros((len(trees), len(fields)), bool)
    roots, depths = np.zeros(len(trees), np.intp), np.zeros(len(trees), np.intp)
    reached: list[FlatNode] = []
    left: list[int] = []
    places: list[int] = []
    for number, tree in enumerate(trees):
        roots[number] = len(reached)
        level = [0]
        while level:
            # The inner nodes of a level append their children in their own order.
            child = len(reached) + len(level)
            following: list[int] = []
            for place in level:
                node = tree[place]
                if node.left == LEAF:
                    left.append(len(reached))
                else:
                    left.append(child + len(following))
                    following += [node.left, node.right]
                    uses[number, fields[node.field]] = True
                reached.append(node)
                places.append(place)
            level = following
            depths[number] += bool(following)
    return FlatForest(
        tuple(fields),
        uses,
        roots,
        depths,
        np.array([fields.get(node.field, 0) for node in reached], np.intp),
        np.array([np.inf if node.left == LEAF else node.threshold for node in reached]),
        np.array(left, np.intp),
        np.array(places, np.intp),
    )


def split_node(field: str, operator: str, value: float, passed: int, failed: int) -> FlatNode:
    """The node of a comparison.

    Args:
      field: the name of the compared field.
      operator: <, <=, > or >=.
      value: the number to compare it with.
      passed: the child for which the comparison is true.
      failed: the other one.

    >>> split_node("x", ">", 2.0, 7, 8)
    FlatNode(field='x', threshold=2.0, left=8, right=7)
    """
    left, right = (passed, failed) if operator.startswith("<") else (failed, passed)
    threshold = value if operator in ("<=", ">") else float(np.nextafter(value, -np.inf))
    return FlatNode(field, threshold, left, right)
