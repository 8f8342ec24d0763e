"""Whether two models agree about records, output by output.

Class scores, which are two or more floating-point numbers per row, agree if the highest one has the same index. A
single floating-point number agrees within a tolerance. Whole numbers, booleans and texts must be equal. NaN agrees only
with NaN. A record with one row per item agrees if all of its rows do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from models.columns.outputs import RecordOutputs, flat_rows
from models.columns.scored import ScoredRecords
from models.tensors import Array

Flags = npt.NDArray[np.bool_]
OutputKind = Literal["class scores", "number", "value"]


def kind_of(array: Array) -> OutputKind:
    """How the values of an output are compared.

    >>> kind_of(np.zeros((5, 3))), kind_of(np.zeros((5, 1))), kind_of(np.zeros((5, 3), np.int64))
    ('class scores', 'number', 'value')
    """
    if array.dtype.kind != "f":
        return "value"
    return "class scores" if np.prod(array.shape[1:]) > 1 else "number"


def agreeing_records(name: str, candidate: RecordOutputs, live: RecordOutputs, tolerance: float) -> Flags:
    """Whether two models agree on an output for each of the same records: bool [records].

    Args:
      name: the name of an output of the live model. If the candidate lacks it, no record agrees.
      candidate: the outputs of the candidate.
      live: the outputs of the live model for the same records.
      tolerance: how far a single number may differ, both absolutely and relative to the live model's number.
    """
    records = _records(live)
    if name not in candidate.arrays or not _same_rows(candidate, live):
        return np.zeros(records, np.bool_)
    rows = agreeing_rows(candidate.arrays[name], live.arrays[name], tolerance)
    if live.bounds is None:
        return rows
    owners = np.repeat(np.arange(records), np.diff(live.bounds))
    agreeing: Flags = np.bincount(owners[~rows], minlength=records) == 0
    return agreeing


def agreeing_rows(candidate: Array, live: Array, tolerance: float) -> Flags:
    """Like `agreeing_records`, but for the rows of one output: bool [rows]."""
    kinds = kind_of(candidate), kind_of(live)
    rows = len(live)
    if kinds[0] != kinds[1]:
        return np.zeros(rows, np.bool_)
    if kinds[0] == "class scores":
        return _same_class(flat_rows(candidate), flat_rows(live))
    if kinds[0] == "number":
        found, wanted = candidate.astype(np.float64).reshape(rows), live.astype(np.float64).reshape(rows)
        return np.isclose(found, wanted, rtol=tolerance, atol=tolerance, equal_nan=True)
    if candidate.shape != live.shape:
        return np.zeros(rows, np.bool_)
    same: Flags = (flat_rows(candidate) == flat_rows(live)).all(axis=1)
    return same


def taken(outputs: RecordOutputs, places: npt.NDArray[np.intp]) -> RecordOutputs:
    """The outputs of some of the records, in the order of their places."""
    if outputs.bounds is None:
        return RecordOutputs({name: array[places] for name, array in outputs.arrays.items()}, None)
    lengths = np.diff(outputs.bounds)[places]
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    rows = np.repeat(outputs.bounds[:-1][places] - bounds[:-1], lengths) + np.arange(bounds[-1])
    return RecordOutputs({name: array[rows] for name, array in outputs.arrays.items()}, bounds)


def answered_by_both(
    candidate: Sequence[ScoredRecords], live: Sequence[ScoredRecords]
) -> Iterator[tuple[RecordOutputs, RecordOutputs, int]]:
    """Yields the outputs of both models for the records that both answered, and the number of those records."""
    for wanted in live:
        for found in candidate:
            if found.outputs is not None and wanted.outputs is not None:
                _, ours, theirs = np.intersect1d(found.rows, wanted.rows, assume_unique=True, return_indices=True)
                if len(ours):
                    yield taken(found.outputs, ours), taken(wanted.outputs, theirs), len(ours)


def _records(outputs: RecordOutputs) -> int:
    if outputs.bounds is not None:
        return len(outputs.bounds) - 1
    return len(next(iter(outputs.arrays.values()), ()))


def _same_rows(one: RecordOutputs, other: RecordOutputs) -> bool:
    if one.bounds is None or other.bounds is None:
        return one.bounds is other.bounds
    return np.array_equal(one.bounds, other.bounds)


def _same_class(found: Array, wanted: Array) -> Flags:
    candidate, live = found.astype(np.float64), wanted.astype(np.float64)
    same: Flags = _highest(candidate) == _highest(live)
    if candidate.shape == live.shape:
        same &= (np.isnan(candidate) == np.isnan(live)).all(axis=1)
    else:
        same &= ~(np.isnan(candidate).any(axis=1) | np.isnan(live).any(axis=1))
    return same


def _highest(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    highest: npt.NDArray[np.intp] = np.argmax(np.where(np.isnan(scores), -np.inf, scores), axis=1)
    return highest
