"""Scored columns: the records of one model call, and the model's identity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.columns.mapping import InputMapping
from models.columns.outputs import RecordOutputs


@dataclass(frozen=True)
class ModelIdentity:
    """The model that scored.

    Attributes:
      name, version, model_type: as published; for a remote model, the version that its server reported, if any.
      location: where the model was loaded from, or the address of its server.
      digest: SHA-256 of the model's bytes; None for a model in another process.
      descriptor_offset: the descriptor's offset in the models topic.
    """

    name: str
    version: int | None
    model_type: str
    location: str
    digest: str | None
    descriptor_offset: int


@dataclass(frozen=True)
class RouteIdentity:
    """The arm of a route that answered.

    Attributes:
      offset: the offset in the models topic of the message that introduced this state of the route.
      arm: the name of the arm.
      role: serve, candidate or shadow.
    """

    offset: int
    arm: str
    role: str


@dataclass(frozen=True)
class StepCall:
    """One executed step of a graph.

    Attributes:
      name: the name of the step.
      model, version: the model that was called; None if the step called no model.
      duration: the duration in microseconds.
      error: why the step has no outputs; None if it has some.
    """

    name: str
    model: str | None
    version: int | None
    duration: int
    error: str | None = None

    @classmethod
    def of(cls, name: str, call: ModelCall) -> StepCall:
        """A call of the step with this name."""
        model = call.model
        if model is None:
            return cls(name, None, None, call.duration, call.error)
        return cls(name, model.name, model.version, call.duration, call.error)


@dataclass(frozen=True)
class ModelCall:
    """One call of a model, or the reason why no model was called.

    Attributes:
      model: the model that was called; None if no model was called.
      start: the start in microseconds since 1970-01-01 UTC.
      duration: the duration in microseconds.
      batch_size: the number of records that were scored together.
      error: the reason why there are no outputs; None if there are outputs.
      route: the arm that answered; None without a route.
      steps: the steps of the graph that answered; empty for a model.
      error_kind: the kind of the error for metrics (`models.errors.ServingError.kind`); None if there is none.
    """

    model: ModelIdentity | None
    start: int
    duration: int
    batch_size: int
    error: str | None = None
    route: RouteIdentity | None = None
    steps: tuple[StepCall, ...] = ()
    error_kind: str | None = None


@dataclass(frozen=True)
class ScoredRecords:
    """Records that were scored together.

    Attributes:
      rows: int64, ascending: their rows in the decoded columns.
      call: the call of the model, or the reason why no model was called.
      outputs: the outputs of these records, in the same order; None if there are none, with the reason in `call.error`.
      data_type: the data type of the records; empty within a graph.
      mapping: how the columns of the records became the inputs of the model; None if no model got them by itself, as
        for a graph. It does not keep the model open.
      outliers: float32 [records]: how unusual each record is (`models.columns.outliers`); None if it was not computed.
    """

    rows: npt.NDArray[np.int64]
    call: ModelCall
    outputs: RecordOutputs | None
    data_type: str = ""
    mapping: InputMapping | None = None
    outliers: npt.NDArray[np.float32] | None = None
