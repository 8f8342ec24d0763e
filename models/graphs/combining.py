"""Combines outputs of several steps into one, value by value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.columns.outputs import RecordOutputs
from models.errors import ScoringError
from models.graphs.answers import Chosen
from models.model_topic.steps import CombineStep
from models.tensors import Array


def combine(step: CombineStep, chosen: Sequence[Chosen]) -> RecordOutputs:
    """The outputs of a `combine` step.

    Raises:
      ScoringError: the outputs have different shapes, or a mean is required and they are not numbers.
    """
    first = chosen[0]
    for one in chosen[1:]:
        if one.array.shape != first.array.shape or not _same_bounds(one, first):
            raise ScoringError(
                f"{first.reference} {list(first.array.shape)} and {one.reference} {list(one.array.shape)} cannot be "
                "combined: they must have the same shape"
            )
    arrays = [one.array for one in chosen]
    combined = vote(arrays) if step.how == "vote" else mean(chosen, step.weights)
    return RecordOutputs({step.output: combined}, first.bounds)


def mean(chosen: Sequence[Chosen], weights: Sequence[float] = ()) -> Array:
    """The mean of each value, weighted if there are weights: float64.

    >>> mean([Chosen("a", np.array([1.0, 2.0]), None), Chosen("b", np.array([3.0, 8.0]), None)], [3.0, 1.0]).tolist()
    [1.5, 3.5]
    """
    for one in chosen:
        if one.array.dtype.kind not in "fiub":
            raise ScoringError(f"{one.reference} is {one.array.dtype}, which has no mean")
    stacked = np.stack([one.array.astype(np.float64) for one in chosen])
    found: Array = np.average(stacked, axis=0, weights=list(weights) or None)
    return found


def vote(arrays: Sequence[Array]) -> Array:
    """The most frequent value at each place; the first one if several are equally frequent.

    >>> vote([np.array([1, 1, 1]), np.array([1, 2, 2]), np.array([2, 2, 3])]).tolist()
    [1, 2, 1]
    """
    if len({array.dtype.kind in "OSU" for array in arrays}) > 1:
        raise ScoringError("text and numbers cannot vote together")
    stacked: Any = np.stack(arrays)
    counts = np.stack([(stacked == one).sum(axis=0) for one in stacked])
    winner = np.argmax(counts, axis=0)
    found: Array = np.take_along_axis(stacked, winner[None], axis=0)[0]
    return found


def vote_of_outputs(votes: Sequence[RecordOutputs]) -> RecordOutputs:
    """The majority of each output among models that answered the same records.

    Raises:
      ScoringError: the models have different outputs.
    """
    first = votes[0]
    for one in votes[1:]:
        if {name: array.shape for name, array in one.arrays.items()} != {
            name: array.shape for name, array in first.arrays.items()
        } or not _same_bounds(one, first):
            raise ScoringError(
                f"outputs {', '.join(sorted(first.arrays))} and {', '.join(sorted(one.arrays))} cannot vote: their "
                "names and shapes must be the same"
            )
    return RecordOutputs({name: vote([one.arrays[name] for one in votes]) for name in first.arrays}, first.bounds)


def _same_bounds(one: Chosen | RecordOutputs, other: Chosen | RecordOutputs) -> bool:
    if one.bounds is None or other.bounds is None:
        return one.bounds is other.bounds
    return np.array_equal(one.bounds, other.bounds)
