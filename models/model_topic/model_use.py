"""A model within an inference graph, and references to the outputs of steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from models.errors import RouteError
from models.model_topic.names import check_name

ModelKey: TypeAlias = "tuple[str, int | None]"
"""The name and version of a model; None means the live version."""


@dataclass(frozen=True)
class ModelUse:
    """A model within a graph.

    Attributes:
      model: the model's name.
      version: the model's version; None means the live version, which a fenced generation does not allow.
      inputs: for each input of the model, the fields or outputs of steps that fill it; other inputs are filled as the
        model's descriptor specifies.
    """

    model: str
    version: int | None = None
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.model)
        if self.version is not None and self.version < 1:
            raise RouteError(f"model {self.model!r}: version {self.version} is below 1")
        for name, sources in self.inputs.items():
            if not sources:
                raise RouteError(f"model {self.model!r}: input {name!r} is not connected to anything")

    @property
    def key(self) -> ModelKey:
        """The model's name and version."""
        return self.model, self.version

    @property
    def label(self) -> str:
        """MODEL/VERSION, or MODEL for the live version."""
        return self.model if self.version is None else f"{self.model}/{self.version}"

    @property
    def references(self) -> frozenset[str]:
        """The names of the steps whose outputs it takes."""
        return frozenset(step_of(source) for sources in self.inputs.values() for source in sources if "." in source)


def step_of(reference: str) -> str:
    """The name of the step in STEP or STEP.OUTPUT.

    >>> step_of("income.risk"), step_of("income")
    ('income', 'income')
    """
    return reference.partition(".")[0]
