"""Inference graphs for hypothesis: valid graphs with every kind of step."""

from __future__ import annotations

from hypothesis import strategies as st

from models.model_topic.graph import Graph
from models.model_topic.model_use import ModelUse
from models.model_topic.steps import (
    BanditStep,
    Case,
    CombineStep,
    DecideStep,
    ModelStep,
    RaceStep,
    Step,
    SwitchStep,
    TransformStep,
)

NAMES = st.sampled_from(["wine", "größe", "a b"])
NUMBERS = st.floats(-1e6, 1e6)
CONSTANTS = st.one_of(NUMBERS, st.integers(-5, 5), st.booleans(), st.sampled_from(["deny", "ü"]))


@st.composite
def uses(draw: st.DrawFn, steps: list[str]) -> ModelUse:
    """A model step that takes fields and the outputs of the named steps."""
    sources = st.sampled_from(["x", "y", *(f"{name}.out" for name in steps)])
    inputs = draw(st.dictionaries(st.sampled_from(["a", "b"]), st.lists(sources, min_size=1, max_size=3).map(tuple)))
    return ModelUse(draw(NAMES), draw(st.none() | st.integers(1, 9)), inputs)


@st.composite
def steps(draw: st.DrawFn, name: str, known: list[str]) -> Step:
    """A step that refers only to known steps."""
    model = uses(known)
    if not known:
        return ModelStep(name, draw(model))
    of = draw(st.lists(st.sampled_from([*known, *(f"{one}.out" for one in known)]), min_size=1, max_size=3).map(tuple))
    kind = draw(
        st.sampled_from(["model", "transform", "mean", "weighted", "switch", "race", "bandit", "decide", "error"])
    )
    if kind == "model":
        return ModelStep(name, draw(model))
    if kind == "transform":
        return TransformStep(name, "scale", of)
    if kind == "mean":
        return CombineStep(name, draw(st.sampled_from(["mean", "vote"])), of, (), "out")
    if kind == "weighted":
        return CombineStep(name, "weighted", of, tuple(draw(st.floats(0.5, 9)) for _ in of))
    if kind == "switch":
        condition = draw(st.sampled_from(["x > 1", f"{known[0]}.out > 1 and y == 'a'"]))
        return SwitchStep(name, (Case(draw(model), condition), Case(draw(st.sampled_from(known) | model))))
    if kind == "race":
        default = draw(st.none() | st.dictionaries(st.just("out"), CONSTANTS, min_size=1))
        entrants = tuple(draw(st.lists(model, min_size=1, max_size=3)))
        return RaceStep(name, entrants, draw(st.floats(0.001, 10)), default, draw(st.booleans()))
    if kind == "bandit":
        choices = (ModelUse("one", 1), ModelUse("two"))
        return BanditStep(name, draw(st.sampled_from(["thompson", "epsilon-greedy"])), choices, draw(st.floats(0, 1)))
    if kind == "error":
        return DecideStep(name, "reconstruction-error", of, (0.5,), against=("x", f"{known[0]}.out"))
    return DecideStep(name, "threshold", of, (0.25, 0.5), labels=draw(st.sampled_from([(), ("a", "b", "c")])))


@st.composite
def graphs(draw: st.DrawFn, name: str = "loan") -> Graph:
    """A graph in which every step is used."""
    made: list[Step] = []
    for number in range(draw(st.integers(1, 6))):
        made.append(draw(steps(f"s{number}", [step.name for step in made])))
    needed = frozenset[str]().union(*Graph.needs_of(made).values())
    open_ends = [step.name for step in made if step.name not in needed]
    if len(open_ends) > 1:
        made.append(CombineStep("last", "mean", tuple(f"{one}.out" for one in open_ends)))
    return Graph(name, tuple(draw(st.permutations(made))), made[-1].name)
