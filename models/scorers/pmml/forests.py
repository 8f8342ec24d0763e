"""Forests: the trees of a MiningModel, which all rows descend at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.scorers.flat_trees import FlatForest, FlatNode, flat_forest
from models.scorers.pmml.columns import Frame
from models.scorers.pmml.context import Body
from models.scorers.pmml.flat_trees import walked
from models.scorers.pmml.predictions import Prediction
from models.scorers.pmml.trees import Tree


@dataclass(frozen=True)
class Forest:
    """Trees that use the same fields, which none of them treats or changes."""

    trees: tuple[Tree, ...]
    flat: FlatForest

    def predict(self, frame: Frame) -> list[Prediction]:
        """The predictions of each tree for all rows."""
        places, complete = walked(self.flat, frame)
        pairs = zip(self.trees, places, complete, strict=True)
        return [tree.reached(frame, place, right) for tree, place, right in pairs]


def forest_of(bodies: Sequence[Body | None]) -> Forest | None:
    """The forest of these models; None unless all of them are trees in that form."""
    trees: list[Tree] = []
    nodes: list[tuple[FlatNode, ...]] = []
    for body in bodies:
        if not isinstance(body, Tree) or body.nodes_flat is None:
            return None
        trees.append(body)
        nodes.append(body.nodes_flat)
    return Forest(tuple(trees), flat_forest(nodes))
