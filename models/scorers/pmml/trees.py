"""TreeModel: rows walk from node to node, many at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from models.scorers.flat_trees import FlatForest, FlatNode, flat_forest
from models.scorers.pmml.columns import Bools, Column, Floats, Frame, Places
from models.scorers.pmml.context import CLASSIFICATION, COMMON_ATTRIBUTES, COMMON_CHILDREN, Context, ReadBody
from models.scorers.pmml.elements import Element
from models.scorers.pmml.flat_trees import flat_nodes, walked
from models.scorers.pmml.predicates import PREDICATE_TAGS, PREDICATES, read_predicate
from models.scorers.pmml.predictions import Prediction
from models.scorers.pmml.tree_nodes import NOWHERE, Node

MIXING = ("weightedConfidence", "aggregateNodes")
_STRATEGIES = "none lastPrediction nullPrediction defaultChild weightedConfidence aggregateNodes"


@dataclass(frozen=True)
class Tree:
    """A tree.

    Arrays of nodes have one additional item, at NOWHERE, whose value is missing.

    Attributes:
      nodes: the first one is the root.
      strategy: what happens to rows for which a predicate is unknown.
      keep_last: whether rows that match no child get the score of their last node.
      numbers: the scores of a regression: [nodes], NaN where a node has no score.
      labels: the labels of a classification.
      codes: [nodes], indices into `labels`, -1 where a node has no score.
      distributions: [nodes, labels]: the share of each class; NaN where a node has none.
      ids: the ids of the nodes.
      nodes_flat: the same nodes for rows without missing values, if they have that form.
    """

    nodes: tuple[Node, ...]
    strategy: str
    keep_last: bool
    numbers: Floats | None
    labels: tuple[str, ...]
    codes: Any
    distributions: Floats
    counts: Floats
    has_probabilities: bool
    ids: Any
    nodes_flat: tuple[FlatNode, ...] | None

    def predict(self, frame: Frame) -> Prediction:
        """Scores all rows."""
        if self.strategy in MIXING:
            return self._mixed(frame)
        if self._flat is None:
            return self._at(self._walk(frame))
        (places,), (complete,) = walked(self._flat, frame)
        return self.reached(frame, places, complete)

    @cached_property
    def _flat(self) -> FlatForest | None:
        return None if self.nodes_flat is None else flat_forest([self.nodes_flat])

    def reached(self, frame: Frame, places: Places, complete: Bools) -> Prediction:
        """The predictions of the nodes that rows have reached; rows that are not complete descend again."""
        rest = np.flatnonzero(~complete)
        if len(rest):
            places[rest] = self._walk(frame.subset(rest))
        return self._at(places)

    def _at(self, places: Places) -> Prediction:
        """The predictions of nodes; missing ones for NOWHERE."""
        entities = Column(self.ids.take(places))
        if self.numbers is not None:
            return Prediction(numbers=self.numbers.take(places), entities=entities)
        shares = self.distributions.take(places, axis=0) if self.has_probabilities else None
        return Prediction(labels=self.labels, codes=self.codes.take(places), probabilities=shares, entities=entities)

    def _walk(self, frame: Frame) -> Places:
        """The node at which each row ends; NOWHERE for none."""
        result = np.full(frame.rows, NOWHERE, np.intp)
        rows = np.flatnonzero(self.nodes[0].predicate.test(frame).true)
        waiting: list[tuple[int, Places]] = [(0, rows)]
        while waiting:
            place, rows = waiting.pop()
            if not self.nodes[place].children:
                result[rows] = place
            elif len(rows):
                waiting += self._step(place, rows, frame, result)
        return result

    def _step(self, place: int, rows: Places, frame: Frame, result: Places) -> list[tuple[int, Places]]:
        """The nodes to which the rows in a node go next; rows that end there are recorded in `result`."""
        node, following = self.nodes[place], []
        for child in node.children:
            truth = self.nodes[child].predicate.test(frame.subset(rows))
            following.append((child, rows[truth.true]))
            stays = ~truth.true
            if self.strategy != "none" and truth.unknown.any():
                unknown = rows[truth.unknown]
                stays &= ~truth.unknown
                if self.strategy == "defaultChild":
                    following.append((node.default, unknown))
                elif self.strategy == "lastPrediction":
                    result[unknown] = place
            rows = rows[stays]
            if not len(rows):
                break
        if self.keep_last:
            result[rows] = place
        return following

    def _mixed(self, frame: Frame) -> Prediction:
        shares = np.full((frame.rows, len(self.labels)), np.nan)
        rows = np.flatnonzero(self.nodes[0].predicate.test(frame).true)
        shares[rows] = self._shares(0, frame.subset(rows))
        totals = shares.sum(axis=1, keepdims=True)
        with np.errstate(all="ignore"):
            shares = np.where(totals > 0, shares / totals, np.nan)
        missing = np.isnan(shares).any(axis=1) if len(self.labels) else np.ones(frame.rows, bool)
        codes = np.where(missing, -1, np.where(np.isnan(shares), -1, shares).argmax(axis=1))
        return Prediction(labels=self.labels, codes=codes.astype(np.int64), probabilities=shares)

    def _shares(self, place: int, frame: Frame) -> Floats:
        """The confidences or counts of the classes, for the rows in a node: [rows, labels]."""
        node = self.nodes[place]
        own = self.distributions if self.strategy == "weightedConfidence" else self.counts
        if not node.children or not frame.rows:
            return np.tile(own[place], (frame.rows, 1))
        taken = self._taken(node, frame)
        total, weights = np.zeros((frame.rows, len(self.labels))), np.zeros((frame.rows, 1))
        for child, rows in zip(node.children, taken, strict=True):
            where = np.flatnonzero(rows)
            weight = self.nodes[child].count if self.strategy == "weightedConfidence" else 1.0
            total[where] += weight * self._shares(child, frame.subset(where))
            weights[where] += weight
        if self.strategy == "weightedConfidence":
            with np.errstate(all="ignore"):
                total = np.where(weights > 0, total / weights, np.nan)
        lost = ~np.any(taken, axis=0)
        total[lost] = own[place] if self.keep_last else np.nan
        return total

    def _taken(self, node: Node, frame: Frame) -> list[Bools]:
        """The rows that go to each child; a row goes to several children if its path is unknown."""
        open_rows, mixed, taken = np.ones(frame.rows, bool), np.zeros(frame.rows, bool), []
        for child in node.children:
            truth = self.nodes[child].predicate.test(frame)
            taken.append(open_rows & (truth.true | truth.unknown))
            mixed |= open_rows & truth.unknown
            # A row whose path is known ends the search; any other row goes on, with aggregateNodes up to a true node.
            ends = truth.true if self.strategy == "aggregateNodes" else truth.true & ~mixed
            open_rows = open_rows & ~ends
        return taken


_ATTRIBUTES = f"{COMMON_ATTRIBUTES} missingValueStrategy missingValuePenalty noTrueChildStrategy splitCharacteristic"


def read_tree(element: Element, context: Context) -> ReadBody:
    """Reads a TreeModel."""
    element.check(_ATTRIBUTES, f"{COMMON_CHILDREN} Node")
    strategy = element.choice("missingValueStrategy", _STRATEGIES, "none")
    element.choice("splitCharacteristic", "binarySplit multiSplit", "multiSplit")
    element.number("missingValuePenalty", 1.0)  # it lowers confidences, which are not an output
    last = element.choice("noTrueChildStrategy", "returnNullPrediction returnLastPrediction", "returnNullPrediction")
    if strategy in MIXING and context.function != CLASSIFICATION:
        element.refuse(f"missingValueStrategy {strategy!r} is supported for classification only")
    elements = _nodes(element.only("Node"))
    places = {id(one): place for place, one in enumerate(elements)}
    nodes = tuple(_read_node(one, places, strategy, context) for one in elements)
    ids: Any = np.array([*(one.get("id") or str(place + 1) for place, one in enumerate(elements)), None], object)
    keep_last = last == "returnLastPrediction"
    flat = None if strategy in MIXING else flat_nodes(nodes, context.scope)
    if context.function != CLASSIFICATION:
        numbers = np.array([*(_score(one) for one in elements), np.nan])
        none = np.zeros((len(nodes), 0))
        tree = Tree(nodes, strategy, keep_last, numbers, (), None, none, none, False, ids, flat)
        return ReadBody(tree, features=frozenset({"entityId"}))
    return _classifier(
        elements,
        Tree(nodes, strategy, keep_last, None, (), None, np.zeros((0, 0)), np.zeros((0, 0)), False, ids, flat),
        context,
    )


def _classifier(elements: list[Element], tree: Tree, context: Context) -> ReadBody:
    distributions = [_distribution(one, context) for one in elements]
    scores = [None if one.get("score") is None else context.label(one.need("score"), one) for one in elements]
    found = [label for one in distributions for label in one]
    labels = context.ordered([*context.declared(), *found, *(score for score in scores if score is not None)])
    place = {label: number for number, label in enumerate(labels)}
    size = len(elements) + 1
    counts, shares = np.zeros((size, len(labels))), np.full((size, len(labels)), np.nan)
    codes = np.full(size, -1, np.int64)
    for number, (one, score) in enumerate(zip(distributions, scores, strict=True)):
        for label, (count, share) in one.items():
            counts[number, place[label]] = count
            if np.isnan(shares[number]).all():
                shares[number] = 0
            shares[number, place[label]] = share
        if score is not None:
            codes[number] = place[score]
        elif one:
            codes[number] = counts[number].argmax()
    ends = [number for number, node in enumerate(tree.nodes) if not node.children]
    complete = all(distributions[number] for number in ends)
    if tree.strategy in MIXING and not complete:
        elements[0].refuse(f"missingValueStrategy {tree.strategy!r} needs a ScoreDistribution in every leaf")
    body = replace(
        tree,
        labels=labels,
        codes=codes,
        distributions=shares,
        counts=counts,
        has_probabilities=complete,
    )
    features = frozenset() if tree.strategy in MIXING else frozenset({"entityId"})
    return ReadBody(body, labels, complete, features)


def _nodes(root: Element) -> list[Element]:
    """All nodes, each before its children."""
    found, waiting = [], [root]
    while waiting:
        element = waiting.pop()
        element.check("id score recordCount defaultChild", f"{PREDICATE_TAGS} Node ScoreDistribution Partition")
        found.append(element)
        waiting += reversed(element.all("Node"))
    return found


def _read_node(element: Element, places: dict[int, int], strategy: str, context: Context) -> Node:
    children = element.all("Node")
    default = NOWHERE
    if strategy == "defaultChild" and children:
        name = element.need("defaultChild")
        found = [places[id(child)] for child in children if child.get("id") == name]
        if len(found) != 1:
            element.refuse(f"it has {len(found)} children with the id {name!r} of its defaultChild")
        default = found[0]
    count = element.number("recordCount", 0.0)
    if strategy == "weightedConfidence" and count <= 0:
        element.refuse("missingValueStrategy 'weightedConfidence' needs a recordCount above 0 in every node")
    predicate = read_predicate(element.only(*PREDICATES), context.scope)
    return Node(predicate, tuple(places[id(child)] for child in children), default, count)


def _score(element: Element) -> float:
    if element.get("score") is None:
        if not element.all("Node"):
            element.refuse("a leaf lacks its score")
        return float("nan")
    return element.number("score")


def _distribution(element: Element, context: Context) -> dict[str, tuple[float, float]]:
    """The count and the share of each class."""
    counts: dict[str, tuple[float, float]] = {}
    given = element.all("ScoreDistribution")
    total = sum(one.number("recordCount") for one in given)
    for one in given:
        one.check("value recordCount confidence probability")
        if total <= 0:
            one.refuse("the recordCounts add up to nothing")
        count = one.number("recordCount")
        name = "probability" if "probability" in one.attributes else "confidence"
        with_share = "probability" in one.attributes
        counts[context.label(one.need("value"), one)] = (count, one.number(name) if with_share else count / total)
    return counts
