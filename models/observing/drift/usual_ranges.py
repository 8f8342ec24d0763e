"""The usual ranges of features, from a baseline."""

from __future__ import annotations

import numpy as np

from models.columns.outliers import UsualRanges
from models.observing.drift.profile import Profile
from models.observing.drift.sketches import NumberSketch

_TAIL = 0.001


def usual_ranges(baseline: bytes) -> UsualRanges:
    """The ranges from the 0.1 % to the 99.9 % quantile of each feature of numbers.

    Args:
      baseline: the baseline of a descriptor.

    Raises:
      ValueError: the baseline is malformed.
    """
    fields = Profile.from_bytes(baseline).fields
    return UsualRanges(
        {
            key.name: _range(sketch)
            for key, sketch in fields.items()
            if key.kind == "feature" and isinstance(sketch, NumberSketch) and sketch.count
        }
    )


def _range(sketch: NumberSketch) -> tuple[float, float]:
    values, weights = sketch.distribution()
    shares = np.cumsum(weights) / weights.sum()
    low, high = np.searchsorted(shares, [_TAIL, 1 - _TAIL]).tolist()
    return float(values[low]), float(values[min(high, len(values) - 1)])
