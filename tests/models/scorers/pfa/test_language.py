"""The language and the library, example by example, against Titus."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.models.scorers.pfa.evaluation import array, assert_as_titus, engine, function, mapping, record, scored
from tests.models.scorers.pfa.oracle import Titus

NUMBERS = [-2.5, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 1.5, 2.5, 7.0]
WHOLE = [-7, -3, -2, -1, 0, 1, 2, 3, 12]
PAIRS = [{"x": x, "y": y} for x in WHOLE for y in WHOLE if y]
TEXTS = ["", "a", "ab", "Abba", "xyz x", " ab ", "résumé"]
INT_PAIR, DOUBLE = record("Pair", x="int", y="int"), array("double")


def square(name: str = "x") -> Any:
    return function({name: "double"}, "double", [{"*": [name, name]}])


OF_NUMBERS: dict[str, tuple[Any, Any]] = {
    "let": ([{"let": {"a": {"+": ["input", 1]}, "b": 2}}, {"*": ["a", "b"]}], "double"),
    "do": ({"do": [{"let": {"a": "input"}}, {"do": [{"let": {"b": "a"}}, {"-": ["b", 1]}]}]}, "double"),
    "if": ({"if": {"<": ["input", 0]}, "then": {"u-": "input"}, "else": {"+": ["input", 10]}}, "double"),
    "if of texts": ({"if": {">=": ["input", 1]}, "then": {"string": "up"}, "else": {"string": "down"}}, "string"),
    "if without else": ([{"if": {"<": ["input", 0]}, "then": 3}, "input"], "double"),
    "cond": (
        {
            "cond": [{"if": {"<": ["input", -1]}, "then": -1}, {"if": {"<": ["input", 1]}, "then": {"long": 0}}],
            "else": 1.5,
        },
        "double",
    ),
    "null or number": ({"if": {"<": ["input", 0]}, "then": None, "else": "input"}, ["null", "double"]),
    "ifnotnull": (
        [
            {"let": {"x": {"if": {"<": ["input", 0]}, "then": None, "else": "input"}}},
            {"ifnotnull": {"y": "x"}, "then": {"*": ["y", 2]}, "else": -100},
        ],
        "double",
    ),
    "cast": (
        {
            "cast": {"if": {"<": ["input", 0]}, "then": {"string": "below"}, "else": "input"},
            "cases": [
                {"as": "string", "named": "s", "do": {"s.len": "s"}},
                {"as": "double", "named": "d", "do": {"*": ["d", 100]}},
            ],
        },
        "double",
    ),
    "upcast": ({"upcast": 3, "as": "double"}, "double"),
    "user function": ({"u.f": ["input", {"+": ["input", 1]}]}, "double"),
    "reference to a user function": ({"a.map": [{"new": ["input", 1, 2.5], "type": DOUBLE}, {"fcn": "u.g"}]}, DOUBLE),
    "filled reference": (
        {"a.map": [{"new": ["input", 1, 2.5], "type": DOUBLE}, {"fcn": "u.f", "fill": {"y": "input"}}]},
        DOUBLE,
    ),
    "reference to a library function": (
        {"a.map": [{"new": ["input", 1], "type": DOUBLE}, {"fcn": "m.floor"}]},
        DOUBLE,
    ),
    "closure": (
        {"a.map": [{"new": [1, 2], "type": DOUBLE}, function({"x": "double"}, "double", {"*": ["x", "input"]})]},
        DOUBLE,
    ),
    "record": (
        {"new": {"a": "input", "b": {"string": "text"}}, "type": record("R", a="double", b="string")},
        "R",
    ),
    "map": ({"new": {"b": "input", "a": 1}, "type": mapping("double")}, mapping("double")),
    "path of a new value": (
        {"attr": {"new": {"a": {"new": ["input", 5], "type": DOUBLE}}, "type": mapping(DOUBLE)}, "path": [["a"], 0]},
        "double",
    ),
    "cell": ({"*": [{"cell": "table", "path": [["b"], 1]}, "input"]}, "double"),
    "computed index": (
        {"cell": "table", "path": [["b"], {"if": {"<": ["input", 0]}, "then": 0, "else": 1}]},
        "double",
    ),
    "computed key": (
        {
            "attr": {"cell": "table"},
            "path": [{"if": {"<": ["input", 0]}, "then": {"string": "a"}, "else": {"string": "b"}}, 0],
        },
        "double",
    ),
    "engine's name": ("name", "string"),
    "base of e": ({"+": [{"m.e": []}, {"*": [{"m.pi": []}, "input"]}]}, "double"),
    "and": ({"&&": [{"<": ["input", 1]}, {">": ["input", -1]}]}, "boolean"),
    "or": ({"||": [{"<": ["input", -1]}, {">": ["input", 1]}]}, "boolean"),
    "xor": ({"^^": [{"<": ["input", 1]}, {">": ["input", -1]}]}, "boolean"),
    "not": ({"!": [{"<": ["input", 1]}]}, "boolean"),
    "cmp": ({"cmp": ["input", 0.5]}, "int"),
    "minkowski's power": ({"**": [{"m.abs": "input"}, 1.5]}, "double"),
    "modulo": ({"%": ["input", 2.0]}, "double"),
    "remainder": ({"%%": ["input", 2.0]}, "double"),
    "m.log": ({"m.log": [{"+": [{"m.abs": "input"}, 0.5]}, 3]}, "double"),
    "m.round": ({"m.round": "input"}, "long"),
    "cast.int": ({"cast.int": "input"}, "int"),
    "m.atan2": ({"m.atan2": ["input", 0.5]}, "double"),
    "m.hypot": ({"m.hypot": ["input", 0.5]}, "double"),
    "relu": ({"m.link.relu": "input"}, "double"),
}
FUNCTIONS = {"f": function({"x": "double", "y": "double"}, "double", {"-": ["y", {"u.g": "x"}]}), "g": square()}
CELLS = {"table": {"type": mapping(DOUBLE), "init": {"a": [10.0], "b": [1.0, 2.0]}}}


@pytest.mark.parametrize("kind", OF_NUMBERS)
def test_an_expression_of_a_number(titus: Titus, kind: str) -> None:
    action, output = OF_NUMBERS[kind]
    assert_as_titus(titus, engine(action, "double", output, fcns=FUNCTIONS, cells=CELLS, name="Engine"), NUMBERS)


UNARY = "acos asin atan ceil cos cosh exp expm1 floor rint sin sinh sqrt tan tanh ln ln1p log10 abs"


@pytest.mark.parametrize("name", UNARY.split())
def test_a_function_of_a_number(titus: Titus, name: str) -> None:
    assert_as_titus(titus, engine({f"m.{name}": "input"}), NUMBERS)


@pytest.mark.parametrize("name", ["+", "-", "*", "//", "%", "%%", "**", "max", "min", "&", "|", "^"])
def test_a_function_of_two_whole_numbers(titus: Titus, name: str) -> None:
    data = [one for one in PAIRS if name != "**" or (abs(one["x"]) < 4 and one["y"] > 0)]
    assert_as_titus(titus, engine({name: ["input.x", "input.y"]}, INT_PAIR, "int"), data)


@pytest.mark.parametrize("name", ["==", "!=", "<", "<=", ">", ">="])
@pytest.mark.parametrize("kind", ["int", "double", "string"])
def test_a_comparison(titus: Titus, name: str, kind: str) -> None:
    kinds: dict[str, list[Any]] = {"int": WHOLE, "double": NUMBERS, "string": TEXTS}
    values = kinds[kind]
    data = [{"x": x, "y": y} for x in values for y in values]
    assert_as_titus(titus, engine({name: ["input.x", "input.y"]}, record("Pair", x=kind, y=kind), "boolean"), data)


OF_TEXTS: dict[str, tuple[Any, Any]] = {
    **{f"s.{name}": ({f"s.{name}": "input"}, "string") for name in ("lower", "upper")},
    **{f"s.{name}": ({f"s.{name}": ["input", [" b"]]}, "string") for name in ("strip", "lstrip", "rstrip")},
    **{f"s.{name}": ({f"s.{name}": ["input", ["b"]]}, "int") for name in ("count", "index", "rindex")},
    **{f"s.{name}": ({f"s.{name}": ["input", ["a"]]}, "boolean") for name in ("contains", "startswith", "endswith")},
    "s.len": ({"s.len": "input"}, "int"),
    "s.substr": ({"s.substr": ["input", 1, -1]}, "string"),
    "s.concat": ({"s.concat": ["input", ["!"]]}, "string"),
    "s.join": ({"s.join": [{"new": ["input", ["b"]], "type": array("string")}, ["-"]]}, "string"),
    "cast.fanoutDouble": (
        {"cast.fanoutDouble": ["input", {"type": array("string"), "value": ["a", "ab"]}, True]},
        DOUBLE,
    ),
    "a.mode of texts": ({"a.mode": {"new": ["input", ["a"], ["ab"], ["a"]], "type": array("string")}}, "string"),
}


@pytest.mark.parametrize("kind", OF_TEXTS)
def test_an_expression_of_a_text(titus: Titus, kind: str) -> None:
    action, output = OF_TEXTS[kind]
    assert_as_titus(titus, engine(action, "string", output), TEXTS)


def test_an_enum_is_compared_and_fanned_out(titus: Titus) -> None:
    colors = {"type": "enum", "name": "Color", "symbols": ["red", "green", "blue"]}
    for action, output in (({"cast.fanoutInt": "input"}, array("int")), ({"==": ["input", "input"]}, "boolean")):
        assert_as_titus(titus, engine(action, colors, output), ["red", "blue", "green"])


def test_nullable_fields(titus: Titus) -> None:
    kind = record("Datum", x=["null", "double"], s=["string", "null"])
    action = {
        "ifnotnull": {"x": "input.x", "s": "input.s"},
        "then": {"+": ["x", {"s.len": "s"}]},
        "else": {"ifnotnull": {"x": "input.x"}, "then": "x", "else": -1},
    }
    data = [{"x": x, "s": s} for x in (None, {"double": 2.5}) for s in (None, {"string": "abc"})]
    assert_as_titus(titus, engine(action, kind), data)
    assert_as_titus(titus, engine("input.s", kind, ["string", "null"]), data)


COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
TREE = record(
    "Node",
    field={"type": "enum", "name": "Name", "symbols": ["x", "s", "b", "k"]},
    operator="string",
    value=["double", "string", "boolean", array("string")],
    **{"pass": ["Node", "int"], "fail": ["Node", "int"]},
)


@pytest.mark.parametrize(
    ("field", "operator", "value"),
    [
        *(("x", operator, {"double": 0.5}) for operator in (*COMPARISONS, "alwaysTrue", "alwaysFalse")),
        *(("s", operator, {"string": "ab"}) for operator in COMPARISONS),
        *(("s", operator, {"array": ["ab", "zz"]}) for operator in ("in", "notIn")),
        ("x", "isMissing", {"double": 0.0}),
        ("x", "notMissing", {"double": 0.0}),
    ],
)  # fmt: skip
def test_an_operator_of_a_tree_node(titus: Titus, field: str, operator: str, value: Any) -> None:
    kind = record("Datum", x="double", s="string", b="boolean", k="int")
    root = {"field": field, "operator": operator, "value": value, "pass": {"int": 1}, "fail": {"int": 2}}
    document = engine(
        {"model.tree.simpleTree": ["input", {"cell": "tree"}]},
        kind,
        "int",
        cells={"tree": {"type": TREE, "init": root}},
    )
    data = [{"x": x, "s": s, "b": x > 0, "k": 3} for x in (-1.0, 0.5, 2.0) for s in ("a", "ab", "b")]
    assert_as_titus(titus, document, data)


def test_compound_and_surrogate_tests(titus: Titus) -> None:
    kind = record("Datum", x=["double", "null"], y=["double", "null"])
    tests = [{"field": name, "operator": ">", "value": 1.0} for name in ("x", "y")]
    cells = {"tests": {"type": array(record("Test", **_test_fields())), "init": tests}}
    missing = function({"d": "Datum", "t": "Test"}, ["boolean", "null"], {"model.tree.missingTest": ["d", "t"]})
    surrogate = {"model.tree.surrogateTest": ["input", {"cell": "tests"}, missing]}
    data = [
        {"x": x, "y": y} for x in (None, {"double": 0.0}, {"double": 2.0}) for y in ({"double": 0.0}, {"double": 3.0})
    ]
    assert_as_titus(titus, engine(surrogate, kind, "boolean", cells=cells), data)
    simple = function({"d": "Datum", "t": "Test"}, "boolean", {"model.tree.simpleTest": ["d", "t"]})
    kind = record("Datum", x="double", y="double")
    plain = [{"x": float(x), "y": float(y)} for x in (0, 2) for y in (0, 3)]
    for operator in ("and", "or", "xor"):
        action = {"model.tree.compoundTest": ["input", [operator], {"cell": "tests"}, simple]}
        assert_as_titus(titus, engine(action, kind, "boolean", cells=cells), plain)


def _test_fields() -> dict[str, Any]:
    return {
        "field": {"type": "enum", "name": "Names", "symbols": ["x", "y"]},
        "operator": "string",
        "value": "double",
    }


def test_binary_metrics_and_a_product_of_a_matrix(titus: Titus) -> None:
    known = {"type": array("boolean"), "value": [True, False, True]}
    for name in ("simpleMatching", "jaccard", "tanimoto"):
        action = {f"metric.{name}": ["input", known]}
        assert_as_titus(titus, engine(action, array("boolean")), [[True, True, False], [True, False, True]])
    dot = {"la.dot": [{"type": array(DOUBLE), "value": [[1.0, 2.0, 3.0], [-1.0, 0.5, 0.0]]}, "input"]}
    assert_as_titus(titus, engine(dot, DOUBLE, DOUBLE), [[1.0, 2.0, 3.0], [0.5, 0.0, -4.0]])


def test_a_float_is_rounded_to_single_precision() -> None:
    # Titus computes in double precision; in the specification, a float has 32 bits.
    assert scored(engine({"+": ["input", {"float": 0.1}]}, "float", "float"), [16777216.0])["output"] == [16777216.0]


def test_a_partial_cast_gives_null_to_the_types_that_have_no_case() -> None:
    # Titus returns null for all of them.
    given = {"if": {"<": ["input", 0]}, "then": {"string": "below"}, "else": "input"}
    cases = [{"as": "double", "named": "d", "do": {"*": ["d", 100]}}]
    document = engine({"cast": given, "cases": cases, "partial": True}, "double", ["double", "null"])
    np.testing.assert_array_equal(scored(document, [-1.0, 0.0, 2.0])["output"], [np.nan, 0.0, 200.0])


@pytest.mark.parametrize("operator", [*COMPARISONS[:4], "==", "!="])
def test_a_float_field_of_a_tree_is_compared_without_rounding_the_threshold(operator: str) -> None:
    root = {"field": "x", "operator": operator, "value": {"double": 0.1}, "pass": {"int": 1}, "fail": {"int": 2}}
    action = {"model.tree.simpleTree": ["input", {"cell": "tree"}]}
    kind = record("Datum", x="float", s="string", b="boolean", k="int")
    document = engine(action, kind, "int", cells={"tree": {"type": TREE, "init": root}})
    # As float32, 0.1 is a little more than 0.1.
    expected = 1 if operator in (">", ">=", "!=") else 2
    assert scored(document, [{"x": 0.1, "s": "", "b": True, "k": 0}])["output"] == [expected]
