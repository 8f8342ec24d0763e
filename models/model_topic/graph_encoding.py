"""Graphs as plain mappings, as they are written in files of routes (YAML) and in the messages of routes (JSON).

{name: income, model: income-risk, version: 3, inputs: {x: [income, debt.risk]}}
{name: scaled, transform: scale-amounts, of: [income]}
{name: risk, combine: weighted, of: [income.risk, debt.risk], weights: [2, 1], output: risk}
{name: stacked, combine: stack, model: meta, inputs: {risks: [income.risk, debt.risk]}}
{name: chosen, switch: [{when: "amount > 1000", model: large}, {step: risk}]}
{name: fastest, race: [{model: a}, {model: b, version: 2}], deadline: 0.05, default: {risk: 0.5}, consensus: true}
{name: tried, bandit: thompson, choices: [{model: a}, {model: b}]}
{name: decision, decide: threshold, of: [risk], at: [0.5], labels: [approve, deny]}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from models.errors import DescriptorError, RouteError
from models.model_topic.graph import Graph
from models.model_topic.model_use import ModelUse
from models.model_topic.steps import (
    BanditStep,
    Case,
    CombineStep,
    Constant,
    DecideStep,
    ModelStep,
    RaceStep,
    Step,
    SwitchStep,
    TransformStep,
)

_STACK = "stack"
_MODEL_KEYS = ("model", "version", "inputs")


def graph_of(name: str, content: object) -> Graph:
    """The graph in a mapping of `steps` and `output`; raises RouteError, which names the place, if it is malformed."""
    where = f"graph {name!r}"
    entry = _Entry(where, content, ("steps", "output"))
    listed = entry.listed("steps")
    steps = tuple(_step(f"{where}: steps[{place}]", one) for place, one in enumerate(listed))
    return Graph(name, steps, entry.text("output"))


def mapping_of(graph: Graph) -> dict[str, Any]:
    """The graph as a mapping of `steps` and `output`, from which `graph_of` creates the same graph."""
    return {"steps": [_describe(step) for step in graph.steps], "output": graph.output}


# --- Reading.


class _Entry:
    """A mapping whose values are read one by one; `where` is the prefix of each error."""

    def __init__(self, where: str, content: object, known: tuple[str, ...]) -> None:
        self.where = where
        if not isinstance(content, dict):
            raise RouteError(f"{where}: it must be a mapping with {', '.join(known)}")
        unknown = sorted(str(key) for key in content if key not in known)
        if unknown:
            raise RouteError(f"{where}: {unknown[0]!r} is unknown; it may contain {', '.join(known)}")
        self.content: dict[str, Any] = content

    def text(self, key: str, default: str | None = None) -> str:
        found = self.content.get(key, default)
        if not isinstance(found, str):
            raise RouteError(f"{self.where}: `{key}` must be text, not {found!r}")
        return found

    def number(self, key: str, default: float | None = None) -> float:
        return self._number(key, self.content.get(key, default))

    def whole(self, key: str) -> int | None:
        found = self.content.get(key)
        if found is not None and type(found) is not int:
            raise RouteError(f"{self.where}: `{key}` must be a whole number, not {found!r}")
        return found

    def flag(self, key: str) -> bool:
        found = self.content.get(key, False)
        if not isinstance(found, bool):
            raise RouteError(f"{self.where}: `{key}` must be true or false, not {found!r}")
        return found

    def listed(self, key: str) -> list[Any]:
        """A list, which may be abbreviated to its only value; empty if the key is missing."""
        found = self.content.get(key, [])
        return found if isinstance(found, list) else [found]

    def texts(self, key: str) -> tuple[str, ...]:
        found = self.listed(key)
        if not all(isinstance(one, str) for one in found):
            raise RouteError(f"{self.where}: `{key}` must contain texts, not {found!r}")
        return tuple(found)

    def numbers(self, key: str) -> tuple[float, ...]:
        return tuple(self._number(key, one) for one in self.listed(key))

    def mapping(self, key: str) -> dict[str, Any]:
        found = self.content.get(key, {})
        if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
            raise RouteError(f"{self.where}: `{key}` must be a mapping of names, not {found!r}")
        return found

    def _number(self, key: str, found: object) -> float:
        if type(found) not in (int, float):
            raise RouteError(f"{self.where}: `{key}` must be a number, not {found!r}")
        return float(cast(float, found))


def _step(where: str, content: object) -> Step:
    if not isinstance(content, dict):
        raise RouteError(f"{where}: it must be a mapping with a name and one of {', '.join(_READERS)}, model")
    kind = next((kind for kind in _READERS if kind in content), "model")
    keys = _KEYS["stack" if content.get(kind) == _STACK else kind]
    entry = _Entry(where, content, ("name", *keys))
    name = entry.text("name")
    try:
        return _READERS[kind](name, entry) if kind in _READERS else _model(name, entry)
    except DescriptorError as error:
        if str(error).startswith(where):
            raise
        raise RouteError(f"{where}: {error}") from error


def _use(entry: _Entry) -> ModelUse:
    inputs = {
        name: _Entry(entry.where, {name: one}, (name,)).texts(name) for name, one in entry.mapping("inputs").items()
    }
    return ModelUse(entry.text("model"), entry.whole("version"), inputs)


def _uses(entry: _Entry, key: str) -> tuple[ModelUse, ...]:
    return tuple(
        _use(_Entry(f"{entry.where}: {key}[{place}]", one, _MODEL_KEYS)) for place, one in enumerate(entry.listed(key))
    )


def _model(name: str, entry: _Entry) -> Step:
    return ModelStep(name, _use(entry))


def _transform(name: str, entry: _Entry) -> Step:
    return TransformStep(name, entry.text("transform"), entry.texts("of"))


def _combine(name: str, entry: _Entry) -> Step:
    how = entry.text("combine")
    if how == _STACK:
        return ModelStep(name, _use(entry))
    return CombineStep(
        name, cast(Any, how), entry.texts("of"), entry.numbers("weights"), entry.text("output", CombineStep.output)
    )


def _switch(name: str, entry: _Entry) -> Step:
    listed = entry.listed("switch")
    return SwitchStep(name, tuple(_case(f"{entry.where}: switch[{place}]", one) for place, one in enumerate(listed)))


def _case(where: str, content: object) -> Case:
    entry = _Entry(where, content, ("when", "step", *_MODEL_KEYS))
    condition = entry.text("when") if "when" in entry.content else None
    if ("step" in entry.content) == ("model" in entry.content):
        raise RouteError(f"{where}: a case has either a `model` or a `step`")
    return Case(entry.text("step") if "step" in entry.content else _use(entry), condition)


def _race(name: str, entry: _Entry) -> Step:
    default = None
    if "default" in entry.content:
        default = {key: _constant(entry, value) for key, value in entry.mapping("default").items()}
    return RaceStep(name, _uses(entry, "race"), entry.number("deadline"), default, entry.flag("consensus"))


def _constant(entry: _Entry, value: object) -> Constant:
    values = value if isinstance(value, list) else [value]
    kinds = {type(one) for one in values}
    if not values or not (kinds <= {int, float} or kinds in ({bool}, {str})):
        raise RouteError(f"{entry.where}: `default` must contain numbers, texts, true or false, not {value!r}")
    return cast(Constant, tuple(values) if isinstance(value, list) else value)


def _bandit(name: str, entry: _Entry) -> Step:
    how = cast(Any, entry.text("bandit"))
    return BanditStep(name, how, _uses(entry, "choices"), entry.number("epsilon", BanditStep.epsilon))


def _decide(name: str, entry: _Entry) -> Step:
    return DecideStep(
        name,
        cast(Any, entry.text("decide")),
        entry.texts("of"),
        entry.numbers("at"),
        entry.whole("k") or 0,
        entry.texts("labels"),
        entry.texts("against"),
    )


_READERS: Mapping[str, Callable[[str, _Entry], Step]] = {
    "transform": _transform,
    "combine": _combine,
    "switch": _switch,
    "race": _race,
    "bandit": _bandit,
    "decide": _decide,
}
_KEYS: Mapping[str, tuple[str, ...]] = {
    "model": _MODEL_KEYS,
    "transform": ("transform", "of"),
    "combine": ("combine", "of", "weights", "output"),
    "stack": ("combine", *_MODEL_KEYS),
    "switch": ("switch",),
    "race": ("race", "deadline", "default", "consensus"),
    "bandit": ("bandit", "choices", "epsilon"),
    "decide": ("decide", "of", "at", "k", "labels", "against"),
}


# --- Writing.


def _describe(step: Step) -> dict[str, Any]:
    return {"name": step.name, **_WRITERS[type(step)](step)}


def _describe_use(use: ModelUse) -> dict[str, Any]:
    inputs = {name: list(sources) for name, sources in use.inputs.items()}
    return _filled({"model": use.model, "version": use.version, "inputs": inputs})


def _describe_case(case: Case) -> dict[str, Any]:
    target = {"step": case.target} if isinstance(case.target, str) else _describe_use(case.target)
    return _filled({"when": case.condition, **target})


def _describe_race(step: RaceStep) -> dict[str, Any]:
    default: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in (step.default or {}).items()
    }
    entrants = [_describe_use(use) for use in step.entrants]
    return _filled({"race": entrants, "deadline": step.deadline, "default": default, "consensus": step.consensus})


def _describe_decision(step: DecideStep) -> dict[str, Any]:
    return _filled(
        {
            "decide": step.how,
            "of": list(step.of),
            "at": list(step.at),
            "k": step.k,
            "labels": list(step.labels),
            "against": list(step.against),
        }
    )


def _filled(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry without empty values."""
    return {key: value for key, value in entry.items() if value not in (None, [], {}, 0, False)}


_WRITERS: Mapping[type, Callable[[Any], dict[str, Any]]] = {
    ModelStep: lambda step: _describe_use(step.use),
    TransformStep: lambda step: _filled({"transform": step.entry_point, "of": list(step.of)}),
    CombineStep: lambda step: _filled(
        {"combine": step.how, "of": list(step.of), "weights": list(step.weights), "output": step.output}
    ),
    SwitchStep: lambda step: {"switch": [_describe_case(case) for case in step.cases]},
    RaceStep: _describe_race,
    BanditStep: lambda step: {
        "bandit": step.how,
        "choices": [_describe_use(use) for use in step.choices],
        "epsilon": step.epsilon,
    },
    DecideStep: _describe_decision,
}
