"""Scored columns: the records of one call of a model, and the model's identity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
class ModelCall:
    """One call of a model, or the reason why there was none.

    Attributes:
      model: the model that was called; None when there was none.
      start: microseconds since 1970-01-01 UTC.
      duration: microseconds.
      batch_size: the number of records that were scored together.
      error: the reason why there are no outputs; None if there are.
    """

    model: ModelIdentity | None
    start: int
    duration: int
    batch_size: int
    error: str | None = None


@dataclass(frozen=True)
class ScoredRecords:
    """Records that were scored together.

    Attributes:
      rows: int64, ascending: their rows in the decoded columns.
      call: the call of the model, or the reason why there was none.
      outputs: of these records, in that order; None when there are none: the reason is `call.error`.
    """

    rows: npt.NDArray[np.int64]
    call: ModelCall
    outputs: RecordOutputs | None
