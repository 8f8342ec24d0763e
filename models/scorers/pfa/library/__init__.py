"""The supported functions of the standard's library by name; each compiles a call of itself."""

from __future__ import annotations

from collections.abc import Callable

from models.scorers.pfa.library import core, strings
from models.scorers.pfa.library.arrays import aggregations, higher_order, parts
from models.scorers.pfa.library.calls import Call
from models.scorers.pfa.library.numbers import casts, linear_algebra, links, mathematics, metrics
from models.scorers.pfa.library.trained import clusters, networks, regressions
from models.scorers.pfa.library.trees import comparisons, walks
from models.scorers.pfa.nodes import Node

__all__ = ["LIBRARY", "Call"]

_MODULES = (
    *(core, strings),
    *(aggregations, higher_order, parts),
    *(casts, linear_algebra, links, mathematics, metrics),
    *(clusters, networks, regressions),
    *(comparisons, walks),
)
LIBRARY: dict[str, Callable[[Call], Node]] = {
    name: function for module in _MODULES for name, function in module.FUNCTIONS.items()
}
