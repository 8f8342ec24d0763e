"""Combines the numbers of several segments into one."""

from __future__ import annotations

import numpy as np

from models.scorers.pmml.columns import Bools, Floats


def combined_numbers(numbers: Floats, weights: Floats, used: Bools, method: str) -> Floats:
    """Combines the numbers of the segments: all arguments are [rows, segments], and the result is [rows]."""
    filled = np.where(used, numbers, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        if method in ("average", "weightedAverage"):
            return np.asarray((filled * weights).sum(axis=1) / weights.sum(axis=1), np.float64)
        if method in ("sum", "weightedSum"):
            return np.asarray((filled * weights).sum(axis=1), np.float64)
    if method == "max":
        return np.asarray(np.where(used, numbers, -np.inf).max(axis=1), np.float64)
    result = np.full(len(numbers), np.nan)
    some = used.any(axis=1)
    result[some] = np.nanmedian(np.where(used, numbers, np.nan)[some], axis=1)
    return result
