"""Inference graphs: models and steps that process their outputs, which answer a record together as an arm of a route.

A graph consists of steps (`models.model_topic.steps`). Its answer is that of its output step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from keyword import iskeyword

from models.errors import DescriptorError, RouteError
from models.model_topic.model_use import ModelUse
from models.model_topic.names import check_name
from models.model_topic.steps import Step, SwitchStep

_STEP_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_STEPS_LIMIT = 100


@dataclass(frozen=True)
class Graph:
    """An inference graph.

    Attributes:
      name: the name, unique in its generation of the route.
      steps: the steps, in any order.
      output: the name of the step that gives the answer.
    """

    name: str
    steps: tuple[Step, ...]
    output: str

    def __post_init__(self) -> None:
        try:
            self._check()
        except DescriptorError as error:
            raise RouteError(f"graph {self.name!r}: {error}") from error

    @cached_property
    def by_name(self) -> dict[str, Step]:
        """The steps by name."""
        return {step.name: step for step in self.steps}

    @cached_property
    def needs(self) -> dict[str, frozenset[str]]:
        """The names of the steps that each step needs."""
        return self.needs_of(self.steps)

    @staticmethod
    def needs_of(steps: Sequence[Step]) -> dict[str, frozenset[str]]:
        """The names of the steps that each of these steps needs."""
        names = {step.name for step in steps}
        return {
            step.name: step.references | (step.condition_names & names if isinstance(step, SwitchStep) else frozenset())
            for step in steps
        }

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The names of the steps, each after those that it needs."""
        return tuple(TopologicalSorter(self.needs).static_order())

    @property
    def uses(self) -> Iterator[ModelUse]:
        """The models of all steps."""
        return (use for step in self.steps for use in step.uses)

    def _check(self) -> None:
        check_name(self.name)
        if len(self.steps) > _STEPS_LIMIT:
            raise RouteError(f"it has {len(self.steps)} steps; the limit is {_STEPS_LIMIT}")
        _check_step_names([step.name for step in self.steps])
        known = ", ".join(self.by_name) or "none"
        for step in self.steps:
            for needed in sorted(self.needs[step.name] - self.by_name.keys()):
                raise RouteError(f"step {step.name!r} refers to step {needed!r}, which does not exist; steps: {known}")
        if self.output not in self.by_name:
            raise RouteError(f"its output {self.output!r} is not a step; steps: {known}")
        self._check_cycles()
        self._check_connected()
        if not any(True for _ in self.uses):
            raise RouteError("none of its steps calls a model")

    def _check_cycles(self) -> None:
        try:
            TopologicalSorter(self.needs).prepare()
        except CycleError as error:
            raise RouteError(f"steps need each other in a circle: {' <- '.join(error.args[1])}") from error

    def _check_connected(self) -> None:
        connected, open_steps = set[str](), [self.output]
        while open_steps:
            name = open_steps.pop()
            if name not in connected:
                connected.add(name)
                open_steps += self.needs[name]
        for name in sorted(self.by_name.keys() - connected):
            raise RouteError(f"nothing uses step {name!r}; connect it to {self.output!r}, or remove it")


def _check_step_names(names: Sequence[str]) -> None:
    for name in names:
        if not _STEP_NAME.fullmatch(name) or iskeyword(name):
            raise RouteError(
                f"step name {name!r}: it must consist of letters, digits and _, and not be a keyword of conditions"
            )
        if names.count(name) > 1:
            raise RouteError(f"two steps are named {name!r}; each needs a name of its own")
