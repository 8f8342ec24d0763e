"""The steps of inference graphs: the kinds of steps, and their settings.

A step refers to the outputs of others as `STEP.OUTPUT`, or as `STEP` if that has only one output; any other name is a
field of the record. A step contains no code: a transform is a model, or an entry point installed on the workers.
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
    """A step that calls models, and needs the steps that they need."""

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
    """The result of an installed function of the record and of outputs.

    Attributes:
      entry_point: the name of an entry point in the group `models.graphs.transforms.ENTRY_POINTS`.
      of: the outputs that the function gets besides the fields of the record.
    """

    name: str
    entry_point: str
    of: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.entry_point:
            raise RouteError(f"step {self.name!r}: a transform needs the name of an entry point")


@dataclass(frozen=True)
class CombineStep(_OfOutputs):
    """Several outputs combined into one, value by value.

    Attributes:
      how: mean; weighted, a mean with weights; vote, the most frequent value (the first of equally frequent ones).
      of: the outputs, which must have the same shape.
      weights: for `weighted`, one weight for each output.
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
            raise RouteError(f"step {self.name!r}: `weighted` requires weights, and other methods do not allow them")
        if self.weights and len(self.weights) != len(self.of):
            raise RouteError(
                f"step {self.name!r}: {len(self.of)} outputs need as many weights, not {len(self.weights)}"
            )
        if self.weights and not (all(0 <= one < math.inf for one in self.weights) and sum(self.weights) > 0):
            raise RouteError(f"step {self.name!r}: weights must be at least 0, and one of them above 0")


@dataclass(frozen=True)
class Case:
    """A case of a switch: a model, which scores only the records of the case, or another step.

    Attributes:
      target: the model, or the name of the step.
      condition: a condition on fields and on outputs (as `STEP.OUTPUT`); None means every record.
    """

    target: ModelUse | str
    condition: str | None = None


@dataclass(frozen=True)
class SwitchStep(_OfModels):
    """The outputs of the first case whose condition a record meets; the last case has no condition."""

    name: str
    cases: tuple[Case, ...]

    def __post_init__(self) -> None:
        if not self.cases or any(case.condition is None for case in self.cases[:-1]):
            raise RouteError(f"step {self.name!r}: only the last case of a switch may have no condition")
        if self.cases[-1].condition is not None:
            raise RouteError(
                f"step {self.name!r}: the last case of a switch must have no condition, so that it always holds"
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
      deadline: the number of seconds after which the race ends.
      default: the outputs for records that no model has answered by then; None if they get an error.
      consensus: whether all answers that arrive in time vote, instead of the first one winning.
    """

    name: str
    entrants: tuple[ModelUse, ...]
    deadline: float
    default: Mapping[str, Constant] | None = None
    consensus: bool = False

    def __post_init__(self) -> None:
        if not self.entrants:
            raise RouteError(f"step {self.name!r}: a race needs at least one model")
        if not 0 < self.deadline <= 3600:
            raise RouteError(
                f"step {self.name!r}: the deadline must be above 0 and at most 3600 seconds, not {self.deadline:g}"
            )
        if self.default is not None and not self.default:
            raise RouteError(f"step {self.name!r}: a default answer needs at least one output")

    @property
    def uses(self) -> tuple[ModelUse, ...]:
        """The models of the step."""
        return self.entrants


@dataclass(frozen=True)
class BanditStep(_OfModels):
    """The outputs of one of several models, chosen for each record by the rewards that they have received so far.

    Attributes:
      how: epsilon-greedy: the best model, except that a share `epsilon` of the records gets a random one; thompson:
        each model with the probability that it is the best one (Thompson 1933), for rewards between 0 and 1.
      choices: the models.
      epsilon: the share, from 0 to 1.
    """

    name: str
    how: BanditMethod
    choices: tuple[ModelUse, ...]
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        _check_method(self.name, self.how, get_args(BanditMethod))
        keys = [use.key for use in self.choices]
        if len(keys) < 2 or len(set(keys)) < len(keys):
            raise RouteError(f"step {self.name!r}: a bandit needs at least two different models to choose from")
        if not 0 <= self.epsilon <= 1:
            raise RouteError(f"step {self.name!r}: epsilon must be a share from 0 to 1, not {self.epsilon:g}")

    @property
    def uses(self) -> tuple[ModelUse, ...]:
        """The models of the step."""
        return self.choices


@dataclass(frozen=True)
class DecideStep(_OfOutputs):
    """A decision based on the outputs of other steps.

    Attributes:
      how: argmax: the index of the greatest value; threshold: the number of limits that a value has reached; top-k: the
        indices of the greatest values; reconstruction-error: the mean squared difference from `against`, and whether
        it has reached the limit, if there is one.
      of: the outputs: one, or several with one value each.
      at: the limits, in ascending order; a value that equals a limit has reached it.
      k: the number of values for top-k.
      labels: the names of the indices; if empty, they are numbered from 0.
      against: the values to be reconstructed: fields of the record, or outputs.
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
            raise RouteError(
                f"step {self.name!r}: `top-k` requires a number `k` above 0, and other methods do not allow it"
            )
        if (self.how == "reconstruction-error") != bool(self.against):
            raise RouteError(
                f"step {self.name!r}: `reconstruction-error` requires `against`, and other methods do not allow it"
            )
        if self.at and self.labels and len(self.labels) != len(self.at) + 1:
            raise RouteError(f"step {self.name!r}: {len(self.at)} limits need {len(self.at) + 1} labels")

    def _check_limits(self) -> None:
        if self.how == "threshold" and not self.at:
            raise RouteError(f"step {self.name!r}: a threshold needs at least one limit in `at`")
        if self.how in ("argmax", "top-k") and self.at:
            raise RouteError(f"step {self.name!r}: {self.how} does not allow limits in `at`")
        if self.how == "reconstruction-error" and (len(self.at) > 1 or (self.labels and not self.at)):
            raise RouteError(
                f"step {self.name!r}: a reconstruction error may have one limit in `at`, and labels only with a limit"
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
        raise RouteError(f"step {step!r}: it has no inputs; list the outputs that it takes in `of`")
