"""The arguments and results of the readers of all kinds of models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from models.scorers.pmml.columns import DOUBLE, STRING, Frame, Scope, literal
from models.scorers.pmml.elements import Element
from models.scorers.pmml.fields import DataField
from models.scorers.pmml.predictions import Prediction

COMMON_ATTRIBUTES = "modelName functionName algorithmName isScorable"
# The elements and attributes that every model may have and that are read elsewhere or do not affect results.
COMMON_CHILDREN = "MiningSchema Output ModelStats ModelExplanation Targets LocalTransformations ModelVerification"

REGRESSION, CLASSIFICATION, CLUSTERING = "regression", "classification", "clustering"


class Body(Protocol):
    """The part of a model that depends on its kind."""

    def predict(self, frame: Frame) -> Prediction:
        """Scores all rows of a frame whose values have been treated as the mining schema requires."""


class Model(Protocol):
    """A whole model, with its mining schema, targets and outputs."""

    @property
    def function(self) -> str:
        """The mining function: regression, classification or clustering."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes or clusters; empty for a regression."""

    @property
    def has_probabilities(self) -> bool:
        """Whether predictions have probabilities."""

    @property
    def output_types(self) -> dict[str, str]:
        """The data types of its output fields."""

    @property
    def bare(self) -> Body | None:
        """Its body, if it treats no field, derives none, and adds nothing to the predictions of the body."""

    def score(self, parent: Frame) -> tuple[Prediction, Frame]:
        """The prediction, and the frame that has the output fields."""


@dataclass(frozen=True)
class Context:
    """Everything that a model may refer to.

    Attributes:
      scope: the fields that its elements may use.
      function: the mining function.
      target: its target field, if it names one.
      read_model: reads a model inside this one, which may use the fields of a scope.
    """

    scope: Scope
    function: str
    target: DataField | None
    read_model: Callable[[Element, Scope], Model]

    def label(self, text: str, element: Element) -> str:
        """The text of a class, in the same form wherever it occurs.

        A target that is a number may be written in several ways, such as 1 and 1.0.
        """
        data_type = self.target.data_type if self.target is not None else ""
        if data_type in ("", STRING):
            return text
        return _number_text(float(literal(text, data_type, element)))

    def declared(self) -> tuple[str, ...]:
        """The valid values of the target, as labels."""
        values = self.target.valid if self.target is not None else ()
        return tuple(value if isinstance(value, str) else _number_text(value) for value in values)

    def ordered(self, labels: Sequence[str]) -> tuple[str, ...]:
        """The labels without duplicates, in the order in which the target declares them, followed by the others."""
        declared = {label: place for place, label in enumerate(self.declared())}
        unique = list(dict.fromkeys(labels))
        return tuple(sorted(unique, key=lambda label: declared.get(label, len(declared))))

    def label_type(self) -> str:
        """The data type of the predicted classes or numbers."""
        if self.target is not None and self.target.data_type:
            return self.target.data_type
        return DOUBLE if self.function == REGRESSION else STRING


@dataclass(frozen=True)
class ReadBody:
    """A body, and the known properties of its predictions."""

    body: Body
    labels: tuple[str, ...] = ()
    has_probabilities: bool = False
    features: frozenset[str] = frozenset()
    segments: tuple[tuple[str, Model], ...] = ()


def _number_text(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def supported_function(element: Element, functions: str) -> str:
    """The functionName of a model; raises ModelLoadError unless it is one of these functions."""
    if element.get("isScorable") == "false":
        element.refuse("isScorable is false: the model is not meant to be scored")
    return element.choice("functionName", functions)
