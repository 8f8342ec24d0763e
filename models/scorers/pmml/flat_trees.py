"""Trees that compare numbers with thresholds: all rows descend all trees of a forest at once.

For rows without missing values, the order of tests and the strategy for missing values then make no difference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.scorers.flat_trees import FlatForest, FlatNode, split_node
from models.scorers.pmml.columns import STRING, Bools, Frame, Places, Scope
from models.scorers.pmml.predicates import Always, Comparison
from models.scorers.pmml.tree_nodes import Node

_OPPOSITE = {"lessThan": "greaterOrEqual", "lessOrEqual": "greaterThan"}
_OPPOSITE.update({value: key for key, value in list(_OPPOSITE.items())})
_SIGNS = {"lessThan": "<", "lessOrEqual": "<=", "greaterThan": ">", "greaterOrEqual": ">="}


def walked(forest: FlatForest, frame: Frame) -> tuple[Places, Bools]:
    """The node that each row reaches in each tree, and whether the row has all values; both are [trees, rows]."""
    values = np.empty((len(forest.fields), frame.rows))
    for place, field in enumerate(forest.fields):
        values[place] = frame.column(field).values
    return forest.walk(np.ascontiguousarray(values.T))


def flat_nodes(nodes: Sequence[Node], scope: Scope) -> tuple[FlatNode, ...] | None:
    """The nodes of a tree in this form; None if the tree has another form."""
    root = nodes[0].predicate
    found = [_flat_node(nodes, node, scope) for node in nodes]
    flat = tuple(node for node in found if node is not None)
    return flat if len(flat) == len(nodes) and isinstance(root, Always) and root.value else None


def _flat_node(nodes: Sequence[Node], node: Node, scope: Scope) -> FlatNode | None:
    if not node.children:
        return FlatNode()
    if len(node.children) != 2:
        return None
    first, second = (nodes[child].predicate for child in node.children)
    if not isinstance(first, Comparison) or first.operator not in _OPPOSITE or scope.fields[first.field] == STRING:
        return None
    opposite = Comparison(first.field, _OPPOSITE[first.operator], first.value)
    if second != opposite and not (isinstance(second, Always) and second.value):
        return None
    return split_node(first.field, _SIGNS[first.operator], float(first.value), *node.children)
