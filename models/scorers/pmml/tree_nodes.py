"""The nodes of trees."""

from __future__ import annotations

from dataclasses import dataclass

from models.scorers.pmml.predicates import Predicate

NOWHERE = -1


@dataclass(frozen=True)
class Node:
    """A node; its place is its index in the list of all nodes.

    Attributes:
      predicate: the predicate that selects its rows.
      children: the places of its children.
      default: the place of the child for rows whose path is unknown; NOWHERE if there is none.
      count: the number of training records in it; 0 if the file does not state it.
    """

    predicate: Predicate
    children: tuple[int, ...]
    default: int
    count: float
