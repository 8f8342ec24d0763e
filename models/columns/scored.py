"""Scored columns: the records that one call of a model answered, and which model that was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.columns.outputs import RecordOutputs


@dataclass(frozen=True)
class ModelIdentity:
    """Which model scored.

    Attributes:
      name, version, model_type: as published; for a remote model the version that its server named, if any.
      location: where the model was taken from, or its server's address.
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
    """Which arm of which route answered.

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
    """One step of a graph.

    Attributes:
      name: of the step.
      model, version: what was called; None where the step called no model.
      duration: microseconds.
      error: why it gave no outputs; None if it did.
    """

    name: str
    model: str | None
    version: int | None
    duration: int
    error: str | None = None


@dataclass(frozen=True)
class ModelCall:
    """One call of a model, or the lack of one.

    Attributes:
      model: the model that was called; None when there was none.
      start: microseconds since 1970-01-01 UTC.
      duration: microseconds.
      batch_size: how many records were scored together.
      error: why there are no outputs; None when there are.
      route: the arm that answered; None without a route.
      steps: of the graph that answered; empty for a model.
    """

    model: ModelIdentity | None
    start: int
    duration: int
    batch_size: int
    error: str | None = None
    route: RouteIdentity | None = None
    steps: tuple[StepCall, ...] = ()


@dataclass(frozen=True)
class ScoredRecords:
    """Records that were scored together.

    Attributes:
      rows: int64, ascending: their rows in the decoded columns.
      call: which model answered, or why none did.
      outputs: of these records, in that order; None when there are none: the reason is `call.error`.
    """

    rows: npt.NDArray[np.int64]
    call: ModelCall
    outputs: RecordOutputs | None
