"""The steps of inference graphs: what a graph may consist of, and what each kind of step needs.

A step refers to the outputs of others as `STEP.OUTPUT`, or as `STEP` where that has only one output; any other name is
a field of the record. A step contains no code: what a transform computes is a model, or an entry point that is
installed on the workers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from models.columns.condition import parse_condition
from models.errors import RouteError
from models.model_topic.model_use import ModelUse, step_of

CombineMethod = Literal["mean", "weighted", "vote"]
DecideMethod = Literal["argmax", "threshold", "top-k", "reconstruction-error"]
BanditMethod = Literal["epsilon-greedy", "thompson"]

Constant: TypeAlias = "bool | int | float | str | tuple[bool | int | float | str, ...]"


class _OfModels:
    """A step that calls models, and needs what they need."""

    @property
    def uses(self) -> tuple[ModelUse, ...]:
        """The models of the step."""
        raise NotImplementedError

    @property
    def references(self) -> frozenset[str]:
        """The names of the steps that it needs."""
        return frozenset[str]().union(*(use.references for use in self.uses))


class _OfOutputs:
    """A step that calls no model, and computes its answer from the outputs `of` other steps."""

    of: tuple[str, ...]

    @property
    def uses(self) -> tuple[ModelUse, ...]:
        """The models of the step: none."""
        return ()

    @property
    def references(self) -> frozenset[str]:
        """The names of the steps that it needs."""
        return frozenset(map(step_of, self.of))


@dataclass(frozen=True)
class ModelStep(_OfModels):
    """The outputs of a model."""

    name: str
    use: ModelUse

    @property
    def uses(self) -> tuple[ModelUse, ...]:
        """The models of the step."""
        return (self.use,)


@dataclass(frozen=True)
class TransformStep(_OfOutputs):
    """What an installed function makes of the record and of outputs.

    Attributes:
      entry_point: the name of an entry point in the group `models.graphs.transforms.ENTRY_POINTS`.
      of: the outputs that it gets besides the fields of the record.
    """

    name: str
    entry_point: str
    of: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.entry_point:
            raise RouteError(f"step {self.name!r}: a transform needs the name of an entry point")


@dataclass(frozen=True)
class CombineStep(_OfOutputs):
    """One output made of several, value by value.

    Attributes:
      how: mean; weighted, a mean with weights; vote, the most frequent value, of equally frequent ones the first.
      of: the outputs, which have the same shape.
      weights: for weighted: one for each of them.
      output: the name of the output.
    """

    name: str
    how: CombineMethod
    of: tuple[str, ...]
    weights: tuple[float, ...] = ()
    output: str = "value"

    def __post_init__(self) -> None:
        _check_method(self.name, self.how, get_args(CombineMethod))
        _check_of(self.name, self.of)
        if (self.how == "weighted") != bool(self.weights):
            raise RouteError(f"step {self.name!r}: `weighted`, and nothing else, has weights")
        if self.weights and len(self.weights) != len(self.of):
            raise RouteError(
                f"step {self.name!r}: {len(self.of)} outputs need as many weights, not {len(self.weights)}"
            )
        if self.weights and not (all(0 <= one < math.inf for one in self.weights) and sum(self.weights) > 0):
            raise RouteError(f"step {self.name!r}: weights are numbers from 0, and one of them is above 0")


@dataclass(frozen=True)
class Case:
    """A case of a switch: a model, which scores only the records of the case, or another step.

    Attributes:
      target: the model, or the name of the step.
      condition: over fields and, as `STEP.OUTPUT`, outputs; None means every record.
    """

    target: ModelUse | str
    condition: str | None = None


@dataclass(frozen=True)
class SwitchStep(_OfModels):
    """The outputs of the first case whose condition a record meets; the last one has none."""

    name: str
    cases: tuple[Case, ...]

    def __post_init__(self) -> None:
        if not self.cases or any(case.condition is None for case in self.cases[:-1]):
            raise RouteError(f"step {self.name!r}: only the last case of a switch is without a condition")
        if self.cases[-1].condition is not None:
            raise RouteError(
                f"step {self.name!r}: the last case of a switch has no condition, so that one always holds"
            )
        for case in self.cases:
            if case.condition is not None:
                parse_condition(case.condition)

    @property
    def uses(self) -> tuple[ModelUse, ...]:
        """The models of the step."""
        return tuple(case.target for case in self.cases if isinstance(case.target, ModelUse))

    @property
    def references(self) -> frozenset[str]:
        """The names of the steps that it needs, apart from those that its conditions mention."""
        steps = {case.target for case in self.cases if isinstance(case.target, str)}
        return super().references | steps

    @property
    def condition_names(self) -> frozenset[str]:
        """The names of the fields or steps that its conditions mention."""
        conditions = (case.condition for case in self.cases if case.condition is not None)
        return frozenset(name for one in conditions for name in parse_condition(one).fields)


@dataclass(frozen=True)
class RaceStep(_OfModels):
    """The outputs of the model that answers first, or the vote of those that answer in time.

    Attributes:
      entrants: the models, which are called at the same time.
      deadline: seconds after which no answer is waited for any more.
      default: outputs of the records that nobody has answered by then; None: they get an error.
      consensus: whether all answers in time vote, instead of the first one winning.
    """

    name: str
    entrants: tuple[ModelUse, ...]
    deadline: float
    default: Mapping[str, Constant] | None = None
    consensus: bool = False

    def __post_init__(self) -> None:
        if not self.entrants:
            raise RouteError(f"step {self.name!r}: nothing races")
        if not 0 < self.deadline <= 3600:
            raise RouteError(
                f"step {self.name!r}: a deadline is above 0 and at most 3600 seconds, not {self.deadline:g}"
            )
        if self.default is not None and not self.default:
            raise RouteError(f"step {self.name!r}: a default answer has at least one output")

    @property
    def uses(self) -> tuple[ModelUse, ...]:
        """The models of the step."""
        return self.entrants


@dataclass(frozen=True)
class BanditStep(_OfModels):
    """The outputs of one of several models, chosen for each record by the rewards that they had so far.

    Attributes:
      how: epsilon-greedy: the best one, but a share of epsilon gets any; thompson: each as often as it is likely the
        best one (Thompson 1933), for rewards between 0 and 1.
      choices: the models.
      epsilon: from 0 to 1.
    """

    name: str
    how: BanditMethod
    choices: tuple[ModelUse, ...]
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        _check_method(self.name, self.how, get_args(BanditMethod))
        keys = [use.key for use in self.choices]
        if len(keys) < 2 or len(set(keys)) < len(keys):
            raise RouteError(f"step {self.name!r}: a bandit chooses between two or more different models")
        if not 0 <= self.epsilon <= 1:
            raise RouteError(f"step {self.name!r}: epsilon is a share from 0 to 1, not {self.epsilon:g}")

    @property
    def uses(self) -> tuple[ModelUse, ...]:
        """The models of the step."""
        return self.choices


@dataclass(frozen=True)
class DecideStep(_OfOutputs):
    """A decision by the outputs of other steps.

    Attributes:
      how: argmax: the place of the greatest value; threshold: how many limits a value has reached; top-k: the places of
        the greatest values; reconstruction-error: the mean of the squared differences from what was to be
        reconstructed, and whether it has reached the limit, if there is one.
      of: the outputs: one, or several of one value each.
      at: the limits, in ascending order; a value that equals a limit has reached it.
      k: how many values, of top-k.
      labels: what the places are called; empty: they are numbered from 0.
      against: what was to be reconstructed: fields of the record, or outputs.
    """

    name: str
    how: DecideMethod
    of: tuple[str, ...]
    at: tuple[float, ...] = ()
    k: int = 0
    labels: tuple[str, ...] = ()
    against: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_method(self.name, self.how, get_args(DecideMethod))
        _check_of(self.name, self.of)
        self._check_limits()
        if (self.how == "top-k") != (self.k > 0):
            raise RouteError(f"step {self.name!r}: `top-k`, and nothing else, has a number `k` above 0")
        if (self.how == "reconstruction-error") != bool(self.against):
            raise RouteError(
                f"step {self.name!r}: `reconstruction-error`, and nothing else, has something `against` it"
            )
        if self.at and self.labels and len(self.labels) != len(self.at) + 1:
            raise RouteError(f"step {self.name!r}: {len(self.at)} limits need {len(self.at) + 1} labels")

    def _check_limits(self) -> None:
        if self.how == "threshold" and not self.at:
            raise RouteError(f"step {self.name!r}: a threshold needs a limit `at`")
        if self.how in ("argmax", "top-k") and self.at:
            raise RouteError(f"step {self.name!r}: {self.how} has no limit")
        if self.how == "reconstruction-error" and (len(self.at) > 1 or (self.labels and not self.at)):
            raise RouteError(
                f"step {self.name!r}: a reconstruction error has one limit or none, and labels only with it"
            )
        if not all(map(math.isfinite, self.at)) or list(self.at) != sorted(set(self.at)):
            raise RouteError(f"step {self.name!r}: the limits must ascend")

    @property
    def references(self) -> frozenset[str]:
        """The names of the steps that it needs."""
        return super().references | frozenset(step_of(one) for one in self.against if "." in one)


Step: TypeAlias = "ModelStep | TransformStep | CombineStep | SwitchStep | RaceStep | BanditStep | DecideStep"


def _check_method(step: str, how: str, known: tuple[str, ...]) -> None:
    if how not in known:
        raise RouteError(f"step {step!r}: {how!r} is not one of {', '.join(known)}")


def _check_of(step: str, of: tuple[str, ...]) -> None:
    if not of:
        raise RouteError(f"step {step!r}: nothing is connected to it; name the outputs that it takes in `of`")
