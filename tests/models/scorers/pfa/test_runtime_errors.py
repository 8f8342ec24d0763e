"""A row for which PFA has no result is an error with the reason, and does not affect the other rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.errors import ScoringError
from tests.models.scorers.pfa.evaluation import array, engine, exchange_of, inputs_of, mapping, record, scored
from tests.models.scorers.pfa.oracle import Titus

PAIR = record("Pair", x="int", y="int")
CELLS = {
    "list": {"type": array("double"), "init": [1.0, 2.0]},
    "map": {"type": mapping("double"), "init": {"a": 1.0}},
    "model": {
        "type": record("Linear", coeff=array("double"), const="double"),
        "init": {"coeff": [1.0, 2.0], "const": 0.5},
    },
}
ERRORS: dict[str, tuple[Any, Any, Any, list[Any], str]] = {
    "index": ({"cell": "list", "path": ["input"]}, "int", "double", [0, 1, 2], "index out of range"),
    "key": ({"cell": "map", "path": ["input"]}, "string", "double", ["a", "b"], "key not found"),
    "int overflow": (
        {"+": ["input.x", "input.y"]}, PAIR, "int", [{"x": 2**31 - 1, "y": y} for y in (0, 1)], r"\+: int overflow",
    ),
    "long overflow": (
        {"*": ["input", 3]}, "long", "long", [2**61, 2**62, -(2**62), 2**63 - 1], r"\*: long overflow",
    ),
    "long sum": ({"+": ["input", "input"]}, "long", "long", [2**62 - 1, 2**62, -(2**62)], r"\+: long overflow"),
    "opposite": ({"u-": "input"}, "int", "int", [1, -(2**31)], "u-: int overflow"),
    "division": ({"//": ["input.x", "input.y"]}, PAIR, "int", [{"x": 1, "y": y} for y in (1, 0)], "division by zero"),
    "modulo": ({"%": ["input.x", "input.y"]}, PAIR, "int", [{"x": 1, "y": y} for y in (1, 0)], "division by zero"),
    "cast": ({"cast.int": "input"}, "double", "int", [1.0, 3e9, float("nan")], "cast.int: int overflow"),
    "empty array": ({"a.max": {"a.tail": "input"}}, array("double"), "double", [[1.0]], "a.max: empty array"),
    "empty head": ({"a.head": {"a.tail": "input"}}, array("double"), "double", [[1.0]], "a.head: empty array"),
    "misaligned": (
        {"model.reg.linear": ["input", {"cell": "model"}]}, array("double"), "double", [[1.0]], "misaligned coeff",
    ),
    "base": ({"m.log": [2.0, "input"]}, "int", "double", [2, 0], "base must be positive"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ERRORS)
def test_rows_fail_where_titus_fails(titus: Titus, kind: str) -> None:
    action, input_type, output, data, reason = ERRORS[kind]
    document = engine(action, input_type, output, cells=CELLS)
    answers = titus.answers(document, data)
    assert any("error" in one for one in answers)
    for one, answer in zip(data, answers, strict=True):
        if "error" in answer:
            with pytest.raises(ScoringError, match=reason):
                scored(document, [one])
        else:
            assert scored(document, [one])["output"] == [answer["value"]]
    with pytest.raises(ScoringError, match=reason):
        scored(document, data)


def test_the_error_names_the_row() -> None:
    with pytest.raises(ScoringError, match=r"^row 2: .* \(PFA error 2000\)"):
        scored(engine({"cell": "list", "path": ["input"]}, "int", cells=CELLS), [0, 1, 2, 3])


def test_an_array_has_no_negative_index() -> None:
    with pytest.raises(ScoringError, match="index out of range"):  # Titus counts from the end, as Python does
        scored(engine({"cell": "list", "path": ["input"]}, "int", cells=CELLS), [-1])


def test_what_a_row_does_not_need_is_not_computed() -> None:
    guarded = {"if": {"!=": ["input.y", 0]}, "then": {"//": ["input.x", "input.y"]}, "else": -1}
    assert scored(engine(guarded, PAIR, "int"), [{"x": 7, "y": y} for y in (0, 2, 0)])["output"] == [-1, 3, -1]
    both = {"&&": [{"!=": ["input.y", 0]}, {">": [{"//": ["input.x", "input.y"]}, 1]}]}
    assert scored(engine(both, PAIR, "boolean"), [{"x": 7, "y": y} for y in (0, 2, 9)])["output"] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("kind", "values", "reason"),
    [
        ("double", np.array([b"a"], object), "numbers are expected"),
        ("string", np.array([b"\xff"], object), "holds a text that is not UTF-8"),
        (
            {"type": "enum", "name": "E", "symbols": ["a"]},
            np.array([b"b"], object),
            "'b' is not one of the symbols of E",
        ),
        ("int", np.array([1.5]), "not an integer"),
    ],
)
def test_an_input_of_another_type_is_an_error(kind: Any, values: Any, reason: str) -> None:
    with pytest.raises(ScoringError, match=reason):
        exchange_of(engine(1, kind)).outputs({"input": values}, 1)


def test_arrays_of_different_lengths_are_not_one_batch() -> None:
    action = {"if": {"<": ["input", 0]}, "then": {"cell": "list"}, "else": {"a.tail": {"cell": "list"}}}
    exchange = exchange_of(engine(action, "double", array("double"), cells=CELLS))
    with pytest.raises(ScoringError, match="different lengths"):
        exchange.outputs(inputs_of(exchange, [-1.0, 1.0]), 2)
    assert exchange.outputs(inputs_of(exchange, [1.0]), 1)["output"].tolist() == [[2.0]]
