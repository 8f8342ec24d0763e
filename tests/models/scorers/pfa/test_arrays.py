"""Array expressions, example by example, against Titus."""

from __future__ import annotations

from typing import Any

import pytest

from tests.models.scorers.pfa.evaluation import array, assert_as_titus, engine, function
from tests.models.scorers.pfa.oracle import Titus

LISTS = [[1.0], [3.0, 1.0, 2.0], [2.0, 2.0, 1.0, 1.0], [-1.0, 5.0, 5.0, 0.5], [0.0, 0.0]]
DOUBLE = array("double")


def square(name: str = "x") -> Any:
    return function({name: "double"}, "double", [{"*": [name, name]}])


_SCALED_SUM = {"a.sum": {"a.map": ["input", function({"y": "double"}, "double", {"*": ["x", "y"]})]}}
_AGGREGATIONS = ("head", "last", "sum", "product", "mean", "max", "min", "median", "mode", "logsumexp")
OF_LISTS: dict[str, tuple[Any, Any]] = {
    **{f"a.{name}": ({f"a.{name}": "input"}, "double") for name in _AGGREGATIONS},
    **{f"a.{name}": ({f"a.{name}": "input"}, "int") for name in ("len", "argmax", "argmin")},
    **{f"a.{name}": ({f"a.{name}": "input"}, DOUBLE) for name in ("tail", "init")},
    "a.subseq": ({"a.subseq": ["input", 0, -1]}, DOUBLE),
    "a.concat": ({"a.concat": ["input", {"a.tail": "input"}]}, DOUBLE),
    "a.append": ({"a.append": ["input", {"a.len": "input"}]}, DOUBLE),
    "a.flatten": ({"a.flatten": {"new": ["input", {"a.tail": "input"}, "input"], "type": array(DOUBLE)}}, DOUBLE),
    "a.contains": ({"a.contains": ["input", 1.0]}, "boolean"),
    "a.map": ({"a.map": ["input", square()]}, DOUBLE),
    "a.mapWithIndex": (
        {"a.mapWithIndex": ["input", function({"i": "int", "x": "double"}, "double", {"+": ["i", "x"]})]},
        DOUBLE,
    ),
    "a.zipmap": (
        {"a.zipmap": ["input", "input", function({"x": "double", "y": "double"}, "double", {"*": ["x", "y"]})]},
        DOUBLE,
    ),
    "a.filter": ({"a.filter": ["input", function({"x": "double"}, "boolean", {">": ["x", 0.75]})]}, DOUBLE),
    "sum of filtered": (
        {"a.sum": {"a.filter": ["input", function({"x": "double"}, "boolean", {">": ["x", 1]})]}},
        "double",
    ),
    "a.count": ({"a.count": ["input", function({"x": "double"}, "boolean", {">": ["x", 1]})]}, "int"),
    "a.any": ({"a.any": ["input", function({"x": "double"}, "boolean", {">": ["x", 2]})]}, "boolean"),
    "a.all": ({"a.all": ["input", function({"x": "double"}, "boolean", {">": ["x", 0]})]}, "boolean"),
    "a.fold": (
        {"a.fold": ["input", 1.0, function({"t": "double", "x": "double"}, "double", {"-": ["x", {"*": ["t", 2]}]})]},
        "double",
    ),
    "a.reduce": (
        {"a.reduce": ["input", function({"t": "double", "x": "double"}, "double", {"-": ["x", {"*": ["t", 2]}]})]},
        "double",
    ),
    "nested": ({"a.map": ["input", function({"x": "double"}, "double", _SCALED_SUM)]}, DOUBLE),
    "item": ({"attr": "input", "path": [{"-": [{"a.len": "input"}, 1]}]}, "double"),
    "softmax": ({"m.link.softmax": "input"}, DOUBLE),
    "choice of lengths": (
        {"a.sum": {"if": {">": [{"a.head": "input"}, 1]}, "then": "input", "else": {"a.tail": "input"}}},
        "double",
    ),
}


@pytest.mark.parametrize("kind", OF_LISTS)
def test_an_expression_of_an_array(titus: Titus, kind: str) -> None:
    action, output = OF_LISTS[kind]
    document = engine(action, array("double"), output)
    for one in LISTS:  # the arrays of a batch have one length
        assert_as_titus(titus, document, [one, one[::-1]])


@pytest.mark.parametrize("kind", OF_LISTS)
def test_arrays_of_different_lengths_in_one_batch(titus: Titus, kind: str) -> None:
    """The input is a record that states which items of an array in a cell it needs."""
    action, output = OF_LISTS[kind]
    if isinstance(output, dict):
        action, output = {"a.sum": action}, "double"
    cells = {"lists": {"type": array(array("double")), "init": LISTS}}
    names = {"list": array("double")}
    document = engine(
        {"u.of": {"cell": "lists", "path": ["input"]}},
        "int",
        output,
        cells=cells,
        fcns={"of": function(names, output, _renamed(action))},
    )
    assert_as_titus(titus, document, [0, 1, 2, 3, 4, 2, 0])


def _renamed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _renamed(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_renamed(one) for one in value]
    return "list" if value == "input" else value
