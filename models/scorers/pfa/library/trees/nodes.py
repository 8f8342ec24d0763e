"""The nodes of trees, and how many rows at a time descend them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.scorers.pfa.columns import Column, Places, Scalars
from models.scorers.pfa.frames import Frame
from models.scorers.pfa.library.trees.comparisons import truth_of
from models.scorers.pfa.nodes import Node


@dataclass(frozen=True)
class TreeNode:
    """An inner node.

    Attributes:
      test: decides where each row goes: a boolean, or null for missing.
      ways: where pass, fail and missing lead: nodes are numbered from 0 up, leaves from -1 down.
    """

    test: Node
    ways: tuple[int, ...]


@dataclass(frozen=True)
class Tree:
    """The nodes of a tree, the root first, and the values of its leaves."""

    nodes: tuple[TreeNode, ...]
    leaves: Column

    def walk(self, frame: Frame) -> Places:
        """The leaf that each row reaches."""
        result = np.zeros(frame.rows, np.intp)
        waiting: list[tuple[int, Places]] = [(0, np.arange(frame.rows))]
        while waiting:
            place, rows = waiting.pop()
            if place < 0:
                result[rows] = -1 - place
            elif len(rows):
                node = self.nodes[place]
                column = node.test.evaluate(frame.subset(rows))
                waiting += [(way, rows[chosen]) for way, chosen in zip(node.ways, _chosen(column), strict=False)]
        return result


def _chosen(column: Column) -> list[Any]:
    """The rows that go each way."""
    if isinstance(column, Scalars):
        return [column.values, ~column.values]
    true, known = truth_of(column)
    return [known & true, known & ~true, ~known]
