"""The functions of the standard's library that are supported, by name: each compiles a call of itself."""

from __future__ import annotations

from collections.abc import Callable

from models.scorers.pfa.library import (
    aggregations,
    arrays,
    casts,
    clusters,
    core,
    higher_order,
    linear_algebra,
    links,
    mathematics,
    metrics,
    networks,
    regressions,
    strings,
    tree_tests,
    trees,
)
from models.scorers.pfa.library.calls import Call
from models.scorers.pfa.nodes import Node

__all__ = ["LIBRARY", "Call"]

_MODULES = (
    aggregations,
    arrays,
    casts,
    clusters,
    core,
    higher_order,
    linear_algebra,
    links,
    mathematics,
    metrics,
    networks,
    regressions,
    strings,
    tree_tests,
    trees,
)
LIBRARY: dict[str, Callable[[Call], Node]] = {
    name: function for module in _MODULES for name, function in module.FUNCTIONS.items()
}
