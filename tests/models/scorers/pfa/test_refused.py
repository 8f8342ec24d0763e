"""Anything that is not supported is rejected when the document is read, with its position."""

from __future__ import annotations

import json
from typing import Any

import pytest

from models.errors import ModelLoadError
from models.scorers.pfa.document import read_document
from tests.models.scorers.pfa.evaluation import array, engine, exchange_of, function, mapping, record

TREE = record(
    "Node",
    field={"type": "enum", "name": "Name", "symbols": ["x", "n", "other"]},
    operator="string",
    value=["double", "string"],
    **{"pass": ["Node", "double"], "fail": ["Node", "double"]},
)
DATUM = record("Datum", x="double", n=["double", "null"])
LINEAR = record("Linear", coeff=array("double"), const="double")


def cell(kind: Any, value: Any) -> dict[str, Any]:
    return {"c": {"type": kind, "init": value}}


def tree(**node: Any) -> dict[str, Any]:
    leaf = {"double": 1.0}
    root = {"field": "x", "operator": "<", "value": {"double": 1.0}, "pass": leaf, "fail": leaf, **node}
    action = {"model.tree.simpleTree": ["input", {"cell": "tree"}]}
    return engine(action, DATUM, cells={"tree": {"type": TREE, "init": root}})


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown function": (engine({"m.special.lnBeta": ["input", 1]}), r"^action: 'm.special.lnBeta' is not supported"),
    "nested unknown function": (engine([{"let": {"a": {"m.exp": {"stat.x": 1}}}}]), "^action.0.let.a.m.exp: 'stat.x'"),
    "form": (engine({"while": True, "do": 1}), "^action: 'while' is not supported"),
    "set": (engine([{"let": {"a": 1}}, {"set": {"a": 2}}, "input"]), "^action.1: 'set' is not supported"),
    "method": (engine("input", method="fold", zero=0), '^method: "fold" is not supported'),
    "begin": (engine("input", begin=[1]), "^begin: 'begin' is not supported"),
    "pools": (engine("input", pools={"p": {"type": "int"}}), "^pools: "),
    "options": (engine("input", options={"timeout": 1}), "^options: "),
    "unknown member": (engine("input", actoin=1), "^the document: 'actoin' is not supported here"),
    "symbol": (engine("inptu"), "^action: the symbol 'inptu' is not defined"),
    "field": (engine("input.z", DATUM), "^action: the type Datum has no field 'z'"),
    "type": (engine("input", "decimal"), "^input: the type 'decimal' is not supported"),
    "bytes": (engine(1, "bytes"), "^input: the type 'bytes' is not supported"),
    "fixed": (engine(1, {"type": "fixed", "name": "F", "size": 2}), "^input.type: the type 'fixed' is not supported"),
    "logical type": (engine(1, {"type": "int", "logicalType": "date"}), "^input: logical types"),
    "namespace": (engine(1, {**DATUM, "name": "org.Datum"}), "namespaces are not"),
    "wrong output": (engine({"string": "a"}), "^action: a value of the type double is expected, not string"),
    "types of arguments": (engine({"+": ["input", ["a"]]}), r"\+ does not take arguments of the types double, string"),
    "too few arguments": (engine({"m.exp": []}), "m.exp does not take arguments"),
    "cell without value": (engine("input", cells={"c": {"type": "int"}}), "^cells.c: 'init' is missing"),
    "value of a cell": (engine("input", cells=cell("int", 1.5)), r"^cells.c.init: 1.5 is not a value"),
    "too large an int": (engine("input", cells=cell("int", 2**31)), "^cells.c.init: "),
    "untagged union": (engine("input", cells=cell(["null", "int"], 1)), "^cells.c.init: 1 is not"),
    "source": (engine("input", cells={"c": {"type": "int", "init": 1, "source": "json"}}), "^cells.c.source: "),
    "shared": (engine("input", cells={"c": {"type": "int", "init": 1, "shared": True}}), "^cells.c: shared cells"),
    "no such cell": (engine({"cell": "c"}), "^action: the document has no cell 'c'"),
    "cell-to": (engine({"cell": "c", "to": 1}, cells=cell("int", 1)), "^action: 'to' is not supported"),
    "no such function": (engine({"u.f": "input"}), "^action: the document has no function 'f'"),
    "recursion": (
        engine({"u.f": "input"}, fcns={"f": function({"x": "double"}, "double", {"u.f": "x"})}),
        "function 'f' calls itself",
    ),
    "mutual recursion": (
        engine(
            {"u.f": "input"},
            fcns={
                "f": function({"x": "double"}, "double", {"u.g": "x"}),
                "g": function({"x": "double"}, "double", {"u.f": "x"}),
            },
        ),
        "function 'f' calls itself",
    ),
    "count of arguments": (
        engine({"u.f": []}, fcns={"f": function({"x": "double"}, "double", "x")}),
        "takes 1 arguments, not 0",
    ),
    "model that is computed": (
        engine(
            {"model.reg.linear": ["input", {"type": LINEAR, "new": {"coeff": "input", "const": 1}}]}, array("double")
        ),
        "model.reg.linear: argument 2 must be a cell or a literal",
    ),
    "model of other fields": (
        engine(
            {"model.cluster.closest": ["input", {"cell": "c"}]},
            array("double"),
            cells=cell(array(LINEAR), [{"coeff": [], "const": 1}]),
        ),
        "must be a record with the fields center",
    ),
    "operator of a tree": (tree(operator="near"), "operator 'near' is not supported"),
    "field of a tree": (tree(field="other"), "the type Datum has no field 'other'"),
    "value of a tree": (
        tree(value={"string": "a"}),
        "'x' of the type double is compared with a value of the type string",
    ),
    "null in a tree": (tree(field="n"), "field 'n' may be null, so missingTest is needed"),
    "dynamic tree": (
        engine(
            {"if": {"<": ["input.x", 1]}, "then": {"cell": "tree"}, "else": {"cell": "tree"}},
            DATUM,
            TREE,
            cells=tree()["cells"],
        ),
        "recursive type Node",
    ),
    "missing key": (engine({"cell": "c", "path": [["b"]]}, cells=cell(mapping("double"), {"a": 1})), "no key 'b'"),
    "index": (engine({"cell": "c", "path": [3]}, cells=cell(array("double"), [1])), "index 3 is out"),
    "no case": (
        engine({"cast": {"if": True, "then": 1, "else": ["a"]}, "cases": [{"as": "int", "named": "i", "do": 1.0}]}),
        "'a' is not defined|there is no case for the type",
    ),
    "map input": (engine(1, mapping("double")), "^input 'input': the type map of double is not supported"),
    "record in the input": (engine(1, record("Outer", inner=DATUM)), "^input 'inner': the type Datum is not"),
    "null output": (engine(None, output="null"), "^output 'output': the type null is not supported"),
    "declared twice": (
        engine(1, record("R", a=record("S", x="int"), b=record("S", x="double"))),
        "'S' is declared twice",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_with_its_place(kind: str) -> None:
    document, reason = REFUSED[kind]
    with pytest.raises(ModelLoadError, match=reason) as raised:
        exchange_of(document)
    assert "\n" not in str(raised.value)


def test_what_these_tests_vary_is_accepted() -> None:
    for document in (engine("input"), tree(), engine("input", options={}, begin=[], metadata={"a": "b"}, version=3)):
        read_document(json.dumps(document).encode())
