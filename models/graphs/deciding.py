"""Decisions: the outputs of `decide` steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.columns.outputs import RecordOutputs, flat_rows
from models.errors import FieldValueError, ScoringError
from models.graphs.answers import Chosen
from models.model_topic.steps import DecideStep
from models.tensors import Array

DECISION, SCORE, ERROR = "decision", "score", "error"
"""The names of the outputs: the decision, the value that decided, and the error of a reconstruction."""

Numbers = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


def decide(step: DecideStep, chosen: Sequence[Chosen], against: Sequence[Chosen] = ()) -> RecordOutputs:
    """The outputs of a `decide` step.

    Args:
      step: the step.
      chosen: the outputs that it takes.
      against: the values to be reconstructed.

    Raises:
      FieldValueError: a value of a record is not a number.
      ScoringError: the outputs are not of a numeric type, or their shapes do not fit the step.
    """
    values = matrix_of(chosen)
    if step.how == "argmax":
        places = np.argmax(values, axis=1)
        return _outputs(step, places, {SCORE: values[np.arange(len(values)), places]})
    if step.how == "top-k":
        places = _top(values, step.k)
        return _outputs(step, places, {SCORE: np.take_along_axis(values, places, axis=1)})
    if step.how == "threshold":
        scores = _only_column(step, values)
        return _outputs(step, _reached(step, scores), {SCORE: scores})
    errors = reconstruction_errors(values, matrix_of(against))
    return _outputs(step, _reached(step, errors) if step.at else None, {ERROR: errors})


def matrix_of(chosen: Sequence[Chosen]) -> Numbers:
    """A row with all values of each record: float64 [records, values]; raises as `decide` does."""
    parts = []
    for one in chosen:
        if one.array.dtype.kind not in "fiub":
            raise ScoringError(f"{one.reference} is {one.array.dtype}; a decision needs numbers")
        if one.bounds is not None:
            raise ScoringError(
                f"{one.reference} has a varying number of items per record; a decision needs a fixed number"
            )
        if np.isnan(one.array.astype(np.float64)).any():
            raise FieldValueError(f"{one.reference} is NaN, so no decision is possible")
        parts.append(flat_rows(one.array).astype(np.float64))
    return np.concatenate(parts, axis=1)


def reconstruction_errors(values: Numbers, against: Numbers) -> Numbers:
    """The mean squared difference of each record.

    >>> reconstruction_errors(np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([[1.0, 4.0], [0.0, 0.0]])).tolist()
    [2.0, 0.0]
    """
    if values.shape != against.shape:
        raise ScoringError(
            f"{values.shape[1]} reconstructed values cannot be compared with {against.shape[1]} values of the input"
        )
    errors: Numbers = np.mean((values - against) ** 2, axis=1)
    return errors


def _top(values: Numbers, k: int) -> Places:
    """The indices of the greatest values, in descending order; equal values keep their order."""
    if values.shape[1] < k:
        raise ScoringError(f"there are only {values.shape[1]} values for the top {k}")
    places: Places = np.argsort(-values, axis=1, kind="stable")[:, :k]
    return places


def _reached(step: DecideStep, scores: Numbers) -> Places:
    places: Places = np.searchsorted(np.array(step.at), scores, side="right")
    return places


def _only_column(step: DecideStep, values: Numbers) -> Numbers:
    if values.shape[1] != 1:
        raise ScoringError(f"{step.how} needs one value per record, but there are {values.shape[1]}")
    column: Numbers = values[:, 0]
    return column


def _outputs(step: DecideStep, places: Places | None, others: dict[str, Numbers]) -> RecordOutputs:
    arrays: dict[str, Array] = dict(others)
    if places is not None:
        arrays = {DECISION: _labelled(step, places), **arrays}
    return RecordOutputs(arrays, None)


def _labelled(step: DecideStep, places: Places) -> Array:
    if not step.labels:
        return places
    if places.size and int(places.max()) >= len(step.labels):
        raise ScoringError(f"index {int(places.max())} was chosen, but there are {len(step.labels)} labels")
    labels = np.array([label.encode() for label in step.labels], object)
    found: Array = labels[places]
    return found
