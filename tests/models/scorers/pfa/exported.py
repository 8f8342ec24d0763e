"""Writes fitted scikit-learn estimators as PFA, as exporters do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.models.scorers.pfa.evaluation import array, engine, function, record

LABELS = ["a", "b", "c"]


def input_type(count: int, kind: Any = "double") -> dict[str, Any]:
    return record("Datum", **{f"x{place}": kind for place in range(count)})


def node_type(count: int, leaf: Any, ways: Sequence[str] = ("pass", "fail")) -> dict[str, Any]:
    fields = {"type": "enum", "name": "TreeFields", "symbols": [f"x{place}" for place in range(count)]}
    union = [*(leaf if isinstance(leaf, list) else [leaf]), "TreeNode"]
    return record("TreeNode", field=fields, operator="string", value="double", **dict.fromkeys(ways, union))


def tree(estimator: Any, leaf: Any, ways: Sequence[str] = ("pass", "fail"), place: int = 0) -> dict[str, Any]:
    """A node of a fitted tree; `leaf` returns the tagged value for the tree's value there."""
    inner = estimator.tree_
    if inner.children_left[place] == -1:
        found: dict[str, Any] = leaf(inner.value[place][0])
        return found
    children = [inner.children_left[place], inner.children_right[place]]
    reached = [tree(estimator, leaf, ways, child) for child in children]
    node = {"field": f"x{inner.feature[place]}", "operator": "<=", "value": float(inner.threshold[place])}
    heavier = int(np.argmax([inner.n_node_samples[child] for child in children]))
    node |= dict(zip(ways, [*reached, reached[heavier]], strict=False))
    return {"TreeNode": node}


def root(estimator: Any, leaf: Any, ways: Sequence[str] = ("pass", "fail")) -> dict[str, Any]:
    """The root of a tree with at least one split."""
    found: dict[str, Any] = tree(estimator, leaf, ways)["TreeNode"]
    return found


def number_leaf(value: Any) -> dict[str, Any]:
    return {"double": float(value[0])}


def label_leaf(value: Any) -> dict[str, Any]:
    return {"string": LABELS[int(value.argmax())]}


def shares_leaf(value: Any) -> dict[str, Any]:
    return {"array": [float(one) for one in value / value.sum()]}


def each_tree(leaf: Any) -> dict[str, Any]:
    """The results of all trees in the cell `forest`."""
    body = {"model.tree.simpleTree": ["input", "tree"]}
    return {"a.map": [{"cell": "forest"}, function({"tree": "TreeNode"}, leaf, [body])]}


def boosted(estimator: Any, count: int, rate: float, start: float) -> dict[str, Any]:
    """A GradientBoostingRegressor."""
    trees = [root(one, number_leaf) for one in estimator.estimators_.ravel()]
    total = {"+": [start, {"*": [rate, {"a.sum": [each_tree("double")]}]}]}
    cells = {"forest": {"type": array(node_type(count, "double")), "init": trees}}
    return engine(total, input_type(count), cells=cells)


def forest(estimator: Any, count: int) -> dict[str, Any]:
    """A RandomForestClassifier: the mean probabilities, and the label of the largest."""
    trees = [root(one, shares_leaf) for one in estimator.estimators_]
    leaf, size = array("double"), len(trees)
    added = {"a.zipmap": ["tally", "one", function({"x": "double", "y": "double"}, "double", {"+": ["x", "y"]})]}
    zero = {"type": leaf, "value": [0.0] * len(LABELS)}
    total = {"a.fold": [each_tree(leaf), zero, function({"tally": leaf, "one": leaf}, leaf, added)]}
    shares = {"a.map": ["total", function({"x": "double"}, "double", {"/": ["x", size]})]}
    answer = {
        "type": record("Answer", label="string", probabilities=leaf),
        "new": {"label": {"cell": "labels", "path": [{"a.argmax": ["shares"]}]}, "probabilities": "shares"},
    }
    cells = {
        "forest": {"type": array(node_type(count, leaf)), "init": trees},
        "labels": {"type": array("string"), "init": LABELS},
    }
    return engine(
        [{"let": {"total": total}}, {"let": {"shares": shares}}, answer], input_type(count), "Answer", cells=cells
    )
