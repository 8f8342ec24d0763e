from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ScoringError
from models.model_topic.graph import Graph
from models.model_topic.model_use import ModelUse
from models.model_topic.route import Arm, Segment
from models.model_topic.steps import Case, CombineMethod, CombineStep, DecideStep, ModelStep, Step, SwitchStep
from models.tensors import Array
from tests.models.fakes import schema_of
from tests.models.serving.graphs.graph_serving import GraphServing, error, record, steps, values

TOO_LARGE = 50.0


def affine(factor: float, summand: float = 0.0) -> Any:
    """A model: x -> out = factor * x + summand; it fails if any x is too large."""

    def function(x: Any) -> Mapping[str, Array]:
        if (x > TOO_LARGE).any():
            raise ScoringError("x is too large")
        return {"out": factor * x + summand}

    return function


LOAN = """
steps:
  - {name: income, model: income, version: 1}
  - {name: debt, model: debt, version: 1, inputs: {x: [y]}}
  - {name: risk, combine: weighted, of: [income, debt.out], weights: [3, 1], output: risk}
  - {name: decision, decide: threshold, of: risk, at: 10, labels: [approve, deny]}
output: decision
"""


@pytest.mark.parametrize("record_format", ["avro", "json"])
def test_a_graph_answers_with_its_output_step_and_lists_every_step(record_format: Any) -> None:
    serving = GraphServing(LOAN, income=affine(1), debt=affine(2))
    fields: dict[str, Any] = {"x": "double", "y": ["null", "double"], "group": "string"}
    kind = schema_of(record_format, **fields, parts={"type": "array", "items": "double"})
    first, second = serving.score([record(4, y=2), record(12, y=20)], kind)
    assert first["outputs"] == {
        "decision": {"shape": [], "values": values(first, "decision")},
        "score": {"shape": [], "values": [4.0]},
    }
    assert [values(one, "decision")[0] for one in (first, second)] in ([b"approve", b"deny"], ["approve", "deny"])
    assert values(second, "score") == [19.0]
    metadata = second["modelResultMetadata"]
    assert (metadata["modelName"], metadata["modelVersion"], metadata["modelType"]) == ("loan", None, "graph")
    assert (metadata["routeOffset"], metadata["arm"], metadata["role"], metadata["batchSize"]) == (
        2,
        "live",
        "serve",
        2,
    )
    assert metadata["duration"] > 0
    assert sorted(steps(second), key=str) == [
        ("debt", "debt", 1, None),
        ("decision", None, None, None),
        ("income", "income", 1, None),
        ("risk", None, None, None),
    ]


def test_a_record_that_fails_in_a_step_gets_its_error_and_spoils_no_other() -> None:
    serving = GraphServing(LOAN, income=affine(1), debt=affine(2))
    results = serving.score([record(x, y=y) for x, y in [(1, 1), (99, 1), (2, 2), (1, 99), (99, 99), (3, None)]])
    assert [error(one) for one in results] == [
        None,
        "step 'income': x is too large",
        None,
        "step 'debt': x is too large",
        "step 'income': x is too large",
        "step 'decision': risk.risk is NaN, so no decision is possible",
    ]
    assert [bool(one["outputs"]) for one in results] == [True, False, True, False, False, False]
    assert ("debt", "debt", 1, None) in steps(results[1])
    assert {name for name, *_ in steps(results[1])} == {"income", "debt"}


def test_most_records_that_cannot_be_decided_do_not_take_the_others_with_them() -> None:
    serving = GraphServing(LOAN, income=affine(1), debt=affine(1))
    results = serving.score([record(1, y=1.0 if place == 77 else None) for place in range(200)])
    assert [place for place, one in enumerate(results) if error(one) is None] == [77]


def test_steps_that_do_not_need_each_other_run_side_by_side() -> None:
    meeting = threading.Barrier(10)

    def meet(x: Any) -> Mapping[str, Array]:
        meeting.wait(20)  # breaks unless all ten are called at once
        return {"out": x}

    names = [f"m{number}" for number in range(10)]
    graph = Graph(
        "g",
        (*(ModelStep(name, ModelUse(name, 1)) for name in names), CombineStep("mean", "mean", tuple(names))),
        "mean",
    )
    (result,) = GraphServing(graph, **dict.fromkeys(names, meet)).score([record(3)])
    assert values(result, "value") == [3.0]


def test_a_stacking_model_takes_the_outputs_of_others_and_fields_as_one_vector() -> None:
    graph = """
    steps:
      - {name: a, model: a, version: 1}
      - {name: b, model: b, version: 1}
      - {name: s, combine: stack, model: stack, version: 1, inputs: {v: [a.out, b.out, y]}}
    output: s
    """
    serving = GraphServing(graph, a=affine(1), b=affine(10), stack=lambda v: {"p": v @ np.array([1.0, 1.0, 100.0])})
    assert [values(one, "p") for one in serving.score([record(1, y=2), record(2, y=3)])] == [[211.0], [322.0]]


def test_a_vector_output_fills_a_vector_input() -> None:
    graph = """
    steps:
      - {name: a, model: a, version: 1}
      - {name: b, model: b, version: 1, inputs: {v: [a.code]}}
    output: b
    """
    serving = GraphServing(graph, a=lambda x: {"code": np.stack([x, 2 * x], 1)}, b=lambda v: {"sum": v.sum(axis=1)})
    assert [values(one, "sum") for one in serving.score([record(1), record(2)])] == [[3.0], [6.0]]


def test_what_a_model_does_not_find_is_the_error_of_its_step() -> None:
    graph = """
    steps:
      - {name: a, model: a, version: 1}
      - {name: b, model: b, version: 1, inputs: {x: [a.%s]}}
    output: b
    """
    for name, text in (("nothing", "step 'a' has no output 'nothing'; it has out"), ("text", "holds text")):
        output = {"out": lambda x: {"out": x}, "text": lambda x: {"text": np.full(len(x), b"t", object)}}
        serving = GraphServing(graph % name, a=output.get(name, output["out"]), b=affine(1))
        (result,) = serving.score([record(1)])
        assert text in (error(result) or "")


# --- Switches.

SWITCH = """
steps:
  - {name: small, model: small, version: 1}
  - name: chosen
    switch:
      - {when: "group == 'vip'", model: vip, version: 1}
      - {when: "small.out > 5 and y > 0", model: large, version: 1}
      - {step: small}
output: chosen
"""


def test_a_switch_calls_a_model_for_the_records_of_its_case_only() -> None:
    seen: dict[str, list[float]] = {"vip": [], "large": []}

    def noting(name: str, value: float) -> Any:
        def function(x: Any) -> Mapping[str, Array]:
            seen[name] += x.tolist()
            return {"out": np.full(len(x), value)}

        return function

    serving = GraphServing(SWITCH, small=affine(1), vip=noting("vip", -1.0), large=noting("large", -2.0))
    rows = [record(1, group="vip"), record(2), record(9, y=1), record(9, y=-1), record(9), record(8, group="vip", y=1)]
    results = serving.score(rows)
    assert [values(one, "out")[0] for one in results] == [-1.0, 2.0, -2.0, 9.0, 9.0, -1.0]
    assert seen == {"vip": [1.0, 8.0], "large": [9.0]}
    assert steps(results[0]) == [("small", "small", 1, None), ("chosen", "vip", 1, None)]
    assert steps(results[1]) == [("small", "small", 1, None), ("chosen", None, None, None)]


def test_models_of_a_switch_may_have_different_outputs_while_no_step_needs_them_in_one_form() -> None:
    graph = """
    steps:
      - {name: s, switch: [{when: "x > 5", model: a, version: 1}, {model: b, version: 1}]}
    output: s
    """
    functions: dict[str, Any] = {"a": affine(1), "b": lambda x: {"other": -x}}
    results = GraphServing(graph, **functions).score([record(9), record(1)])
    assert [list(one["outputs"]) for one in results] == [["out"], ["other"]]
    needed = graph.replace("output: s", "  - {name: d, decide: threshold, of: s, at: 1}\n    output: d")
    results = GraphServing(needed, **functions).score([record(9), record(1), record(2)])
    assert [values(one, "score") for one in results] == [[9.0], [-1.0], [-2.0]]  # each with those that are like it


def test_a_condition_that_does_not_fit_the_records_is_their_error() -> None:
    graph = """
    steps:
      - {name: s, switch: [{when: "nothing > 5", model: a, version: 1}, {model: a, version: 1}]}
    output: s
    """
    (result,) = GraphServing(graph, a=affine(1)).score([record(9)])
    assert "step 's': condition 'nothing > 5': the records have no field 'nothing'" in (error(result) or "")


# --- Against an oracle: the same, record by record, in plain Python.

FACTORS = {"m1": (1.0, 0.0), "m2": (-2.0, 3.0), "m3": (0.5, -1.0)}
LIMITS = (-1.0, 2.0)
FAILED = "failed"
Value = Any


@st.composite
def drawn_graphs(draw: st.DrawFn) -> Graph:
    made: list[Step] = []
    for number in range(draw(st.integers(1, 7))):
        made.append(draw(drawn_step(f"s{number}", [step.name for step in made])))
    made.append(DecideStep("decision", "threshold", (draw(st.sampled_from([one.name for one in made])),), LIMITS))
    used, opened = set[str](), ["decision"]
    needs = Graph.needs_of(made)
    while opened:
        used.add(opened[-1])
        opened += needs[opened.pop()]
    return Graph("g", tuple(draw(st.permutations([one for one in made if one.name in used]))), "decision")


@st.composite
def drawn_step(draw: st.DrawFn, name: str, known: list[str]) -> Step:
    use = st.builds(
        lambda model, source: ModelUse(model, 1, {"x": (source,)}),
        st.sampled_from(sorted(FACTORS)),
        st.sampled_from(["x", "y", *(f"{one}.out" for one in known)]),
    )
    kind = draw(st.sampled_from(["model", "combine", "switch"] if known else ["model"]))
    if kind == "model":
        return ModelStep(name, draw(use))
    step = st.sampled_from(known)
    if kind == "combine":
        of = tuple(draw(st.lists(step, min_size=1, max_size=3)))
        how: CombineMethod = draw(st.sampled_from(get_args(CombineMethod)))
        weights = tuple(float(place + 1) for place in range(len(of))) if how == "weighted" else ()
        return CombineStep(name, how, of, weights, "out")
    limit = draw(st.integers(-20, 20))
    condition = draw(st.sampled_from([f"x > {limit}", f"{draw(step)}.out > {limit}"]))
    return SwitchStep(name, (Case(draw(use | step), condition), Case(draw(use | step))))


class Oracle:
    """The expected result of a graph for one record."""

    def __init__(self, graph: Graph, row: Mapping[str, float]) -> None:
        self._graph = graph
        self._row = row

    def of(self, source: str) -> Value:
        if source in self._row:
            return self._row[source]
        return self.step(self._graph.by_name[source.partition(".")[0]])

    def step(self, step: Step) -> Value:
        if isinstance(step, ModelStep):
            return self.model(step.use)
        if isinstance(step, CombineStep):
            return self.combined(step, [self.of(one) for one in step.of])
        if isinstance(step, SwitchStep):
            return self.switched(step)
        assert isinstance(step, DecideStep)
        score = self.of(step.of[0])
        return FAILED if score is FAILED else (sum(score >= limit for limit in step.at), score)

    def model(self, use: ModelUse) -> Value:
        x = self.of(use.inputs["x"][0])
        if x is FAILED or x > TOO_LARGE:
            return FAILED
        factor, summand = FACTORS[use.model]
        return factor * x + summand

    def combined(self, step: CombineStep, parts: Sequence[Value]) -> Value:
        if FAILED in parts:
            return FAILED
        if step.how == "vote":
            counts = Counter(parts)
            return max(parts, key=lambda one: counts[one])  # of several the first
        weights = step.weights or [1.0] * len(parts)
        return sum(w * one for w, one in zip(weights, parts, strict=True)) / sum(weights)

    def switched(self, step: SwitchStep) -> Value:
        left, _, limit = (step.cases[0].condition or "").partition(" > ")
        value = self.of(left)
        if value is FAILED:
            return FAILED
        target = step.cases[0 if value > float(limit) else 1].target
        return self.model(target) if isinstance(target, ModelUse) else self.of(target)


ROWS = st.lists(st.tuples(*[st.integers(-60, 60).map(float)] * 2), min_size=1, max_size=40)


@given(drawn_graphs(), ROWS)
def test_a_graph_answers_as_record_by_record(graph: Graph, rows: list[tuple[float, float]]) -> None:
    serving = GraphServing(graph, **{name: affine(*numbers) for name, numbers in FACTORS.items()})
    for (x, y), result in zip(rows, serving.score([record(x, y=y) for x, y in rows]), strict=True):
        expected = Oracle(graph, {"x": x, "y": y}).step(graph.by_name["decision"])
        if expected is FAILED:
            assert "x is too large" in (error(result) or "")
        else:
            assert error(result) is None
            near_a_limit = (
                min(abs(expected[1] - limit) for limit in LIMITS) < 1e-9
            )  # the sums may be rounded differently
            assert values(result, "decision") == [expected[0]] or near_a_limit
            assert values(result, "score")[0] == pytest.approx(expected[1])


# --- Leases.


def test_models_of_a_graph_are_given_back_and_closed_when_the_route_does_without_them() -> None:
    serving = GraphServing(LOAN, income=affine(1), debt=affine(2))
    serving.score([record(1, y=1)])
    assert not any(scorer.closed.is_set() for scorer in serving.scorers.values())
    only_income = Graph("g", (ModelStep("a", ModelUse("income", 1)),), "a")
    serving.route(Segment((Arm("live", "", graph="g"),)), only_income)
    assert serving.scorers["debt"].closed.is_set()
    assert not serving.scorers["income"].closed.is_set()
    (result,) = serving.score([record(1)])
    assert values(result, "out") == [1.0]


def test_a_graph_takes_effect_when_all_its_models_are_loaded() -> None:
    serving = GraphServing(LOAN, income=affine(1))  # and the topic does not contain the other one
    (result,) = serving.score([record(1)])
    assert error(result) == "No model server defined for data type 'Test'"


def test_a_graph_and_a_model_share_the_records_of_a_route() -> None:
    serving = GraphServing(LOAN, income=affine(1), debt=affine(2))
    serving.route(Segment((Arm("graph", "", graph="loan"), Arm("model", "income", 1))))
    results = serving.score([record(1, y=1)] * 200)
    arms = Counter(one["modelResultMetadata"]["arm"] for one in results)
    assert 60 < arms["graph"] < 140
    assert {tuple(one["outputs"]) for one in results} == {("decision", "score"), ("out",)}
