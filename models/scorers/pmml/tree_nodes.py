"""The nodes of trees."""

from __future__ import annotations

from dataclasses import dataclass

from models.scorers.pmml.predicates import Predicate

NOWHERE = -1


@dataclass(frozen=True)
class Node:
    """A node, whose place is that in the list of all nodes.

    Attributes:
      predicate: which rows it takes.
      children: places.
      default: the place of the child for rows whose way is unknown; NOWHERE if there is none.
      count: how many records it stands for; 0 if it does not say so.
    """

    predicate: Predicate
    children: tuple[int, ...]
    default: int
    count: float
