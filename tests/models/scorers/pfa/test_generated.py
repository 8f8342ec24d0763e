"""Generated expressions have the values and errors of Titus, row by row and in one batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from models.errors import ScoringError
from tests.models.scorers.pfa.evaluation import array, assert_same, engine, exchange_of, function, inputs_of, record
from tests.models.scorers.pfa.oracle import Titus

DATUM = record("Datum", x="double", y="double", i="int", j="int", s="string", b="boolean")
DOUBLES = array("double")
Expressions = st.SearchStrategy[Any]
_SMALL = st.integers(-8, 8)
_DECIMALS = _SMALL.map(lambda value: value / 4)


def _call(name: str, *arguments: Expressions) -> Expressions:
    return st.tuples(*arguments).map(lambda found: {name: list(found)})


def _calls(names: str, *arguments: Expressions) -> Expressions:
    return st.one_of([_call(name, *arguments) for name in names.split()])


def _if(test: Expressions, value: Expressions) -> Expressions:
    return st.tuples(test, value, value).map(lambda parts: dict(zip(("if", "then", "else"), parts, strict=True)))


def _let(given_: Expressions, kind: str) -> Expressions:
    return given_.map(lambda value: {"do": [{"let": {"v": value}}, {"u.twice_" + kind: ["v"]}]})


def _literal_list(items: Expressions) -> Expressions:
    return st.lists(items, min_size=1, max_size=3).map(lambda found: {"new": found, "type": DOUBLES})


@st.composite
def typed(draw: st.DrawFn, kind: str, depth: int) -> Any:
    """An expression of a given type."""
    if depth == 0 and kind != "list":
        return draw(_leaves(kind))
    deeper = max(depth - 1, 0)
    number, whole, text, truth = (typed(one, deeper) for one in ("double", "int", "string", "boolean"))
    if kind == "list":
        return draw(_lists(number, truth, deeper))
    options: dict[str, list[Expressions]] = {
        "double": [
            # No NaN, whose order is not specified.
            _calls("+ - * max min", number, number),
            _calls("/ %", number, _DECIMALS.filter(bool)),
            _calls("u- m.abs m.floor m.ceil m.rint m.sin m.tanh m.link.logit", number),
            _calls("m.sqrt m.ln1p", _calls("m.abs", number)),
            _calls("a.sum a.max a.min a.mean a.median a.head a.last a.mode", typed("list", deeper)),
            whole.map(lambda value: {"upcast": value, "as": "double"}),
            _let(number, "double"),
        ],
        "int": [
            _calls("+ - * // % %% max min", whole, whole),
            _calls("u- m.abs", whole),
            _calls("s.len", text),
            _calls("a.len a.argmax a.argmin", typed("list", deeper)),
            _calls("m.signum cast.int", number),
            _let(whole, "int"),
        ],
        "string": [_calls("s.concat", text, text), _calls("s.lower s.upper", text)],
        "boolean": [
            _calls("== != < <= > >=", number, number),
            _calls("== != < <= > >=", whole, whole),
            _calls("== != < <= > >=", text, text),
            _calls("&& || ^^", truth, truth),
            _calls("!", truth),
            _calls("s.contains s.startswith", text, text),
        ],
    }
    return draw(st.one_of([*options[kind], _if(truth, typed(kind, deeper)), _leaves(kind)]))


def _leaves(kind: str) -> Expressions:
    return {
        "double": st.sampled_from(["input.x", "input.y"]) | _DECIMALS,
        "int": st.sampled_from(["input.i", "input.j"]) | _SMALL,
        "string": st.just("input.s") | st.sampled_from(["", "a", "Bc"]).map(lambda text: {"string": text}),
        "boolean": st.just("input.b") | st.booleans(),
    }[kind]


def _lists(number: Expressions, truth: Expressions, deeper: int) -> Expressions:
    literal = _literal_list(number)
    if not deeper:
        return literal
    inner = typed("list", deeper)
    over = {"z": "double"}
    above = function(over, "boolean", {">": ["z", "input.x"]})
    return st.one_of(
        literal,
        _if(truth, inner),
        _call("a.concat", inner, inner),
        _call("a.tail", inner),
        inner.map(lambda value: {"a.filter": [value, above]}),
        inner.map(lambda value: {"a.map": [value, function(over, "double", {"*": ["z", "input.y"]})]}),
    )


FUNCTIONS = {f"twice_{kind}": function({"w": kind}, kind, {"+": ["w", "w"]}) for kind in ("double", "int")}
ROWS = st.fixed_dictionaries(
    {
        "x": _DECIMALS,
        "y": _DECIMALS,
        "i": _SMALL,
        "j": _SMALL,
        "s": st.sampled_from(["", "a", "abc", "é"]),
        "b": st.booleans(),
    }
)
KINDS = ("double", "int", "string", "boolean")


@settings(
    max_examples=100,
    phases=(Phase.generate,),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), typed(kind, 3))),
    st.lists(ROWS, min_size=4, max_size=8),
)
def test_it_is_computed_as_by_titus(titus: Titus, expression: tuple[str, Any], data: list[dict[str, Any]]) -> None:
    kind, action = expression
    document = engine([action], DATUM, kind, fcns=FUNCTIONS)
    answers = titus.answers(document, data)
    exchange = exchange_of(document)
    fine = [one for one, answer in zip(data, answers, strict=True) if "value" in answer]
    values = [answer["value"] for answer in answers if "value" in answer]
    if fine:
        found = _plain(exchange.outputs(inputs_of(exchange, fine), len(fine))["output"])
        for place, value in enumerate(values):
            _assert_same(found[place], value, f"row {place}")
    for one, answer in zip(data, answers, strict=True):
        if "error" in answer:
            try:
                outcome: Any = exchange.outputs(inputs_of(exchange, [one]), 1)["output"][0]
            except ScoringError:
                continue
            raise AssertionError(f"{outcome} instead of {answer['error']}")


def _assert_same(found: Any, wanted: Any, where: str) -> None:
    if isinstance(wanted, float) and not math.isfinite(wanted):
        np.testing.assert_equal(found, wanted, err_msg=where)
    else:
        assert_same(found, wanted, 1e-9, where)


def _plain(values: Any) -> list[Any]:
    return [one.decode() if isinstance(one, bytes) else one for one in values.tolist()]
