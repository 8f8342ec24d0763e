from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from models.errors import DescriptorError, RouteError
from models.model_topic.catalog import ModelCatalog
from models.model_topic.descriptor import ModelDescriptor, encode_descriptor, version_key
from models.model_topic.graph import Graph
from models.model_topic.graph_encoding import graph_of, mapping_of
from models.model_topic.guardrails import Guardrails
from models.model_topic.names import route_key
from models.model_topic.route import Arm, Fence, Generation, ModelRoute, Segment
from models.model_topic.route_changes import check_versions, with_canary, without_arm
from models.model_topic.route_encoding import decode_route, encode_route
from tests.models.graph_strategies import graphs

LOAN = """
steps:
  - {name: income, model: income-risk, version: 3}
  - {name: debt, model: debt-risk, version: 1, inputs: {x: [amount, income.risk]}}
  - {name: risk, combine: weighted, of: [income.risk, debt.risk], weights: [2, 1], output: risk}
  - {name: decision, decide: threshold, of: risk, at: 0.5, labels: [approve, deny]}
output: decision
"""


def loan(**changed: Any) -> Graph:
    return graph_of("loan", {**yaml.safe_load(LOAN), **changed})


def generation(graph: Graph, *more: Arm, fence: Fence | None = None) -> Generation:
    return Generation((Segment((Arm("live", "", graph=graph.name), *more)),), fence, graphs=(graph,))


@given(graphs())
def test_a_graph_comes_back_from_json_and_from_yaml(graph: Graph) -> None:
    content = mapping_of(graph)
    assert graph_of(graph.name, json.loads(json.dumps(content))) == graph
    assert graph_of(graph.name, yaml.safe_load(yaml.safe_dump(content))) == graph


@given(graphs(), st.booleans())
def test_a_route_with_graphs_comes_back_from_its_message(graph: Graph, twice: bool) -> None:
    one = generation(graph, Arm("new", "wine", 2, 0.5, "shadow"))
    if twice:
        other = replace(graph, name="other")
        one = Generation((Segment((*one.arms, Arm("b", "", graph="other"))),), graphs=(graph, other))
    route = ModelRoute("loan", (one, replace(one, salt="s", offset=7)), 1000)
    assert decode_route(encode_route(route)) == route


@given(graphs())
def test_each_step_comes_behind_those_that_it_needs(graph: Graph) -> None:
    assert sorted(graph.order) == sorted(step.name for step in graph.steps)
    for place, name in enumerate(graph.order):
        assert graph.needs[name] <= set(graph.order[:place])


@pytest.mark.parametrize(
    ("steps", "output", "text"),
    [
        ([], "a", "its output 'a' is not a step; steps: none"),
        ([{"name": "a", "model": "m"}], "b", "its output 'b' is not a step; steps: a"),
        ([{"name": "a", "model": "m"}] * 2, "a", "two steps are named 'a'"),
        ([{"name": "a-b", "model": "m"}], "a-b", "step name 'a-b'"),
        ([{"name": "and", "model": "m"}], "and", "step name 'and'"),
        ([{"name": "a", "model": "m/1"}], "a", "model name 'm/1'"),
        ([{"name": "a", "model": "m", "version": 0}], "a", "version 0 is below 1"),
        ([{"name": "a", "model": "m", "version": "1"}], "a", "`version` must be a whole number"),
        ([{"name": "a", "model": "m", "inputs": {"x": []}}], "a", "input 'x' is not connected to anything"),
        (
            [{"name": "a", "model": "m", "inputs": {"x": ["b.y"]}}],
            "a",
            "step 'a' refers to step 'b', which does not exist",
        ),
        ([{"name": "a", "model": "m", "inputs": {"x": ["a.y"]}}], "a", "circle: a <- a"),
        ([{"name": "a", "model": "m"}, {"name": "b", "model": "m"}], "b", "nothing uses step 'a'; connect it to 'b'"),
        ([{"name": "a", "combine": "mean"}], "a", "it has no inputs"),
        ([{"name": "a", "combine": "sum", "of": "b"}], "a", "'sum' is not one of mean, weighted, vote"),
        (
            [{"name": "a", "combine": "mean", "of": "b", "weights": [1]}],
            "a",
            "`weighted` requires weights",
        ),
        (
            [{"name": "a", "combine": "weighted", "of": ["b", "c"], "weights": [1]}],
            "a",
            "2 outputs need as many weights",
        ),
        ([{"name": "a", "combine": "weighted", "of": ["b"], "weights": [0]}], "a", "one of them above 0"),
        (
            [{"name": "a", "switch": [{"when": "x > 1", "model": "m"}]}],
            "a",
            "the last case of a switch must have no condition",
        ),
        ([{"name": "a", "switch": [{"model": "m"}, {"model": "m"}]}], "a", "only the last case of a switch"),
        ([{"name": "a", "switch": [{"model": "m", "step": "b"}]}], "a", "either a `model` or a `step`"),
        ([{"name": "a", "switch": [{"when": "f()", "model": "m"}, {"model": "m"}]}], "a", "condition 'f()'"),
        ([{"name": "a", "race": [{"model": "m"}]}], "a", "`deadline` must be a number, not None"),
        ([{"name": "a", "race": [{"model": "m"}], "deadline": 0}], "a", "the deadline must be above 0"),
        ([{"name": "a", "race": [], "deadline": 1}], "a", "a race needs at least one model"),
        ([{"name": "a", "race": [{"model": "m"}], "deadline": 1, "default": {"r": [1, "a"]}}], "a", "`default` must"),
        ([{"name": "a", "bandit": "thompson", "choices": [{"model": "m"}]}], "a", "at least two different models"),
        ([{"name": "a", "decide": "threshold", "of": "b"}], "a", "a threshold needs at least one limit"),
        ([{"name": "a", "decide": "threshold", "of": "b", "at": [2, 1]}], "a", "the limits must ascend"),
        ([{"name": "a", "decide": "threshold", "of": "b", "at": 1, "labels": ["c"]}], "a", "1 limits need 2 labels"),
        ([{"name": "a", "decide": "top-k", "of": "b"}], "a", "a number `k` above 0"),
        ([{"name": "a", "decide": "argmax", "of": "b", "at": 1}], "a", "argmax does not allow limits"),
        (
            [{"name": "a", "decide": "reconstruction-error", "of": "b"}],
            "a",
            "`reconstruction-error` requires `against`",
        ),
        ([{"name": "a", "transform": ""}], "a", "the name of an entry point"),
        ([{"name": "a", "transform": "t", "code": "import os"}], "a", "steps[0]: 'code' is unknown"),
        ([{"name": "a", "transform": "t"}], "a", "none of its steps calls a model"),
        ([7], "a", "steps[0]: it must be a mapping"),
    ],
)
def test_a_malformed_graph_is_refused_with_its_place(steps: list[Any], output: str, text: str) -> None:
    with pytest.raises(DescriptorError, match="graph 'g'") as refused:
        graph_of("g", {"steps": steps, "output": output})
    assert text in str(refused.value)


def test_a_circle_of_steps_is_refused_by_its_names() -> None:
    steps = [
        {"name": "a", "combine": "mean", "of": "c"},
        {"name": "b", "combine": "mean", "of": "a"},
        {"name": "c", "switch": [{"when": "b.value > 1", "model": "m"}, {"model": "n"}]},
    ]
    with pytest.raises(RouteError, match="steps need each other in a circle: ") as refused:
        graph_of("g", {"steps": steps, "output": "c"})
    assert all(f" {name}" in str(refused.value) for name in "abc")


def test_a_condition_needs_the_steps_that_it_mentions_and_no_field() -> None:
    graph = loan(
        steps=[
            {"name": "a", "model": "m"},
            {"name": "b", "switch": [{"when": "a.risk > 0.5 and amount > 3", "model": "m"}, {"model": "n"}]},
        ],
        output="b",
    )
    assert graph.needs == {"a": frozenset(), "b": frozenset({"a"})}


# --- In routes.


def test_an_arm_names_a_graph_that_exists_and_every_graph_is_named() -> None:
    with pytest.raises(RouteError, match="graph 'loan' of an arm does not exist; graphs of the route: none"):
        Generation((Segment((Arm("live", "", graph="loan"),)),))
    with pytest.raises(RouteError, match="no arm names graph 'loan'"):
        Generation((Segment((Arm("live", "wine", 1),)),), graphs=(loan(),))
    with pytest.raises(RouteError, match="either a model or a graph"):
        Arm("live", "wine", graph="loan")
    with pytest.raises(RouteError, match="a graph cannot have guardrails"):
        Arm("new", "", role="candidate", graph="loan", guardrails=Guardrails())


def test_a_fence_wants_a_version_of_every_model_of_a_graph() -> None:
    generation(loan(), fence=Fence(5))
    live = loan(steps=[{"name": "a", "model": "m"}], output="a")
    with pytest.raises(RouteError, match="graph 'loan', step 'a': a route with a fence must name versions"):
        generation(live, fence=Fence(5))


def catalog_with(*versions: tuple[str, int]) -> ModelCatalog:
    catalog = ModelCatalog()
    for offset, (name, number) in enumerate(versions):
        descriptor = ModelDescriptor(name, "fake", number, model_source_location="nowhere")
        catalog.apply(offset, version_key(name, number), encode_descriptor(descriptor))
    return catalog


def test_publishing_refuses_unknown_models_and_versions_of_a_graph() -> None:
    one = generation(loan())
    check_versions(one, catalog_with(("income-risk", 3), ("debt-risk", 1)))
    with pytest.raises(RouteError, match="graph 'loan', step 'debt': model 'debt-risk' is unknown; existing models: i"):
        check_versions(one, catalog_with(("income-risk", 3)))
    with pytest.raises(RouteError, match="step 'income': model 'income-risk' has no version 3; existing versions: 2"):
        check_versions(one, catalog_with(("income-risk", 2), ("debt-risk", 1)))


def test_a_canary_beside_a_graph_keeps_it_and_a_withdrawal_of_its_arm_removes_it() -> None:
    one = with_canary(generation(loan()), "wine", 2, 0.25)
    assert one.graphs == (loan(),)
    assert [(arm.label, arm.weight) for arm in one.arms] == [("graph loan", 0.75), ("wine/2", 0.25)]
    (live,) = without_arm(one, "canary").arms
    assert (live.graph, without_arm(one, "canary").graphs) == ("loan", (loan(),))
    assert without_arm(one, "live").graphs == ()


def test_the_catalog_refuses_a_route_whose_graph_is_malformed() -> None:
    message = encode_route(ModelRoute("loan", (generation(loan()),), 5))
    catalog = ModelCatalog()
    catalog.apply(0, route_key("loan"), message)
    assert catalog.routes["loan"].route.newest.graphs == (loan(),)
    for good, bad in ((b'"of": ["risk"]', b'"of": ["rusk"]'), (b'"steps": [', b'"steps": {,')):
        assert good in message
        with pytest.raises(DescriptorError):
            catalog.apply(catalog.position, route_key("loan"), message.replace(good, bad))
    assert catalog.routes["loan"].offset == 0
