"""Checks the text of a LightGBM model before LightGBM reads it.

LightGBM trusts its files: a number that is out of place in a tree ends the process, or makes it read foreign memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from models.errors import ModelLoadError

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_START = "tree\n"
_MARKS = ("\nend of trees\n", "\nend of parameters\n")
_TREE = re.compile(r"^Tree=\d+\n", re.MULTILINE)
# With the sizes of trees LightGBM reads them in parallel, where an error ends the process instead of being reported.
_SIZES = re.compile(r"^tree_sizes=.*\n", re.MULTILINE)
_CATEGORICAL = 1  # a bit of decision_type


def checked_text(text: str) -> str:
    """The text to give to LightGBM.

    Raises:
      ModelLoadError: the text is not a LightGBM model, is truncated, or contains a tree that contradicts itself.
    """
    head, _, _ = text.partition(_MARKS[0])
    if not text.startswith(_START) or any(mark not in text for mark in _MARKS):
        raise ModelLoadError("it is not a complete LightGBM model file in text format; save it with Booster.save_model")
    header, *trees = _TREE.split(head)
    try:
        _check(_lines(header), [_lines(tree) for tree in trees])
    except (ValueError, OverflowError) as error:
        raise ModelLoadError(f"the file of the LightGBM model contradicts itself: {error}") from error
    return _SIZES.sub("", text, count=1)


def _lines(block: str) -> dict[str, str]:
    return {name: value for name, equals, value in (line.partition("=") for line in block.splitlines()) if equals}


def _check(header: Mapping[str, str], trees: list[Mapping[str, str]]) -> None:
    classes, each = int(_value(header, "num_class")), int(_value(header, "num_tree_per_iteration"))
    if classes < 1 or each != classes or len(trees) % each:
        raise ValueError(f"{len(trees)} trees, {each} in each iteration, {classes} classes")
    features = int(_value(header, "max_feature_idx")) + 1
    for place, tree in enumerate(trees):
        try:
            _check_tree(tree, features)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"tree {place}: {error}") from error


def _check_tree(tree: Mapping[str, str], features: int) -> None:
    leaves = int(_value(tree, "num_leaves"))
    _floats(tree, "leaf_value", leaves)
    if leaves > 1:
        _check_nodes(tree, leaves - 1, features)
    if int(tree.get("is_linear", "0")):
        _check_linear(tree, leaves, features)


def _check_nodes(tree: Mapping[str, str], nodes: int, features: int) -> None:
    _within("split_feature", _integers(tree, "split_feature", nodes), 0, features)
    thresholds = _floats(tree, "threshold", nodes)
    for name in ("left_child", "right_child"):
        children = _integers(tree, name, nodes)
        _within(name, children, -nodes - 1, nodes)
        # A later split has a higher number, so that rows cannot go in a circle.
        if ((children >= 0) & (children <= np.arange(nodes))).any():
            raise ValueError(f"{name} leads back to an earlier node")
    categories = int(tree.get("num_cat", "0"))
    kinds = _integers(tree, "decision_type", nodes)
    _within("threshold", thresholds[(kinds & _CATEGORICAL) != 0], 0, categories)
    if categories:
        bounds = _integers(tree, "cat_boundaries", categories + 1)
        _integers(tree, "cat_threshold", int(bounds[-1]))
        if bounds[0] != 0 or (np.diff(bounds) < 0).any():
            raise ValueError("cat_boundaries do not rise from 0")


def _check_linear(tree: Mapping[str, str], leaves: int, features: int) -> None:
    _floats(tree, "leaf_const", leaves)
    counts = _integers(tree, "num_features", leaves)
    _within("num_features", counts, 0, features + 1)
    _within("leaf_features", _integers(tree, "leaf_features", int(counts.sum())), 0, features)
    _floats(tree, "leaf_coeff", int(counts.sum()))


def _value(lines: Mapping[str, str], name: str) -> str:
    if name not in lines:
        raise ValueError(f"{name} is missing")
    return lines[name]


def _integers(tree: Mapping[str, str], name: str, count: int) -> Integers:
    values = np.array(_value(tree, name).split(), np.int64)
    _check_count(name, len(values), count)
    return values


def _floats(tree: Mapping[str, str], name: str, count: int) -> Floats:
    values = np.array(_value(tree, name).split(), np.float64)
    _check_count(name, len(values), count)
    return values


def _check_count(name: str, found: int, count: int) -> None:
    if found != count:
        raise ValueError(f"{name} has {found} values, but {count} are expected")


def _within(name: str, values: Integers | Floats, least: int, limit: int) -> None:
    if not ((values >= least) & (values < limit)).all():
        raise ValueError(f"{name} has a value outside of {least} to {limit - 1}")
