"""Calls of a model with rows of its inputs, and the number in its answers that is explained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from models.columns.outputs import select_outputs
from models.errors import ExplanationError
from models.explaining.attribution import Explained
from models.explaining.explained_row import Rows
from models.loading.loader import LoadedModel
from models.tensors import Array

_LARGEST_CALL = 2_000
_NUMBERS = "fiub"

Numbers = npt.NDArray[np.float64]


class ModelCalls:
    """Calls a model, and counts the calls.

    Attributes:
      model: the model.
      calls, rows: how often it was called, and with how many rows together.

    Args:
      model: a loaded model, which must stay open.
    """

    def __init__(self, model: LoadedModel) -> None:
        self.model = model
        self.calls = 0
        self.rows = 0
        self._largest = min(model.largest_batch or _LARGEST_CALL, _LARGEST_CALL)

    def outputs(self, inputs: Rows) -> dict[str, Array]:
        """The outputs of rows, by their names in results.

        Raises:
          ScoringError: the call fails.
        """
        count = len(next(iter(inputs.values())))
        parts = []
        for start in range(0, count, self._largest):
            part = {name: values[start : start + self._largest] for name, values in inputs.items()}
            size = min(self._largest, count - start)
            scores = self.model.scorer.score(part)
            self.calls, self.rows = self.calls + 1, self.rows + size
            parts.append(select_outputs(scores.outputs, self.model.version.descriptor.outputs, size).arrays)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def count_copy(self, rows: int) -> None:
        """Counts a call of a copy of the model."""
        self.calls, self.rows = self.calls + 1, self.rows + rows

    def numbers(self, inputs: Rows, explained: Explained) -> Numbers:
        """The explained number for each row: float64 [rows]."""
        return component_of(self.outputs(inputs)[explained.output], explained)


def component_of(values: Array, explained: Explained) -> Numbers:
    """The explained number in each row of its output: float64 [rows]."""
    place: Any = (slice(None), *explained.component)
    numbers: Numbers = values[place].astype(np.float64)
    return numbers


def explained_number(outputs: Mapping[str, Array], wanted: str | None, exploded: bool) -> Explained:
    """The number that is explained: the highest value of the output, over all rows of the record.

    Args:
      outputs: the outputs of the record's rows.
      wanted: the name of the output; None for the first one of floating-point numbers.
      exploded: whether the rows are the items of an array field.

    Raises:
      ExplanationError: there is no such output, it holds no numbers, or its highest value is not finite.
    """
    name = _first_float(outputs) if wanted is None else wanted
    if name not in outputs:
        raise ExplanationError(
            f"the model has no output {name!r}; name one of {', '.join(sorted(outputs))} with --explain-output"
        )
    values = outputs[name]
    if values.dtype.kind not in _NUMBERS:
        raise ExplanationError(f"output {name!r} holds no numbers; name another one with --explain-output")
    if not values.size:
        raise ExplanationError(f"output {name!r} is empty for this record")
    row, *component = np.unravel_index(int(np.argmax(values)), values.shape)
    explained = Explained(name, tuple(map(int, component)), int(row) if exploded else None)
    if not np.isfinite(np.float64(values.max())):
        raise ExplanationError(f"the answer {explained} is {values.max()}, which has no explanation")
    return explained


def _first_float(outputs: Mapping[str, Array]) -> str:
    for name, values in outputs.items():
        if values.dtype.kind == "f":
            return name
    known = ", ".join(sorted(outputs)) or "none"
    raise ExplanationError(
        f"no output holds floating-point numbers; name one with --explain-output; the outputs are {known}"
    )
