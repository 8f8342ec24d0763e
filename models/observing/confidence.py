"""How sure a model was of an answer, as far as its outputs tell."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.columns.outputs import RecordOutputs, flat_rows
from models.tensors import Array

Scores = npt.NDArray[np.float64]

_TOLERANCE = 1e-3
_BINARY_NAME = "probab"


def class_confidences(scores: Scores) -> Scores:
    """The confidence of each row of class scores, which is the highest score; NaN if one of the scores is NaN.

    >>> class_confidences(np.array([[0.1, 0.9], [3.0, 4.0], [0.5, np.nan]]))
    array([0.9, 4. , nan])
    """
    highest: Scores = scores.max(axis=1)
    return highest


def confidences(outputs: RecordOutputs) -> Scores:
    """The confidence of each answer as a probability: float64 [records], NaN if there is none.

    The first output that looks like probabilities, record by record, gives it:

    - at least two floating-point numbers between 0 and 1 whose sum differs from 1 by at most 0.001, as those of a
      softmax: the largest of them (`class_confidences`);
    - one floating-point number p between 0 and 1 of an output whose name contains "probab", as that of a binary
      classifier: the larger of p and 1 - p.

    A record with a row for each item of an array field has as many answers, and no confidence of its own.

    Example:
      >>> confidences(RecordOutputs({"scores": np.array([[0.1, 0.9], [3.0, 4.0]])}, None))
      array([0.9, nan])
    """
    count = len(next(iter(outputs.arrays.values()), ()))
    if outputs.bounds is not None:
        return np.full(len(outputs.bounds) - 1, np.nan)
    found = np.full(count, np.nan)
    for name, array in outputs.arrays.items():
        if array.dtype.kind == "f":
            found = np.where(np.isnan(found), _of_output(name, flat_rows(array)), found)
    return found


def _of_output(name: str, array: Array) -> Scores:
    values = array.astype(np.float64)
    none = np.full(len(values), np.nan)
    if not values.shape[1]:
        return none
    possible = ((values >= 0) & (values <= 1)).all(axis=1)
    if values.shape[1] > 1:
        possible &= np.abs(values.sum(axis=1) - 1) <= _TOLERANCE
        return np.where(possible, class_confidences(values), none)
    if _BINARY_NAME not in name.lower():
        return none
    return np.where(possible, np.maximum(values[:, 0], 1 - values[:, 0]), none)
