"""The small integers that stand for real numbers in the inputs and outputs of quantized models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.tensors import Array


@dataclass(frozen=True)
class Quantization:
    """real = scale * (integer - zero_point), for integers of a dtype.

    >>> scale = Quantization(0.5, -1, np.dtype(np.int8))
    >>> scale.integers(np.array([1.0, 1000.0], np.float32)), scale.real(np.array([1, 127], np.int8))
    (array([  1, 127], dtype=int8), array([ 1., 64.], dtype=float32))
    """

    scale: float
    zero_point: int
    dtype: np.dtype[np.generic]

    @classmethod
    def of(cls, detail: Mapping[str, Any]) -> Quantization | None:
        """The quantization of a tensor as TensorFlow Lite describes it; None without one, or with several scales."""
        dtype = np.dtype(detail["dtype"])
        scales = detail["quantization_parameters"]["scales"]
        if dtype.kind not in "iu" or len(scales) != 1:
            return None
        return cls(float(scales[0]), int(detail["quantization_parameters"]["zero_points"][0]), dtype)

    def integers(self, values: Array) -> Array:
        """The nearest integers; NaN becomes the zero point."""
        limits: Any = np.iinfo(self.dtype.name)
        scaled = np.rint(np.asarray(values, np.float64) / self.scale) + self.zero_point
        whole = np.nan_to_num(scaled, nan=self.zero_point, posinf=limits.max, neginf=limits.min)
        found: Array = np.clip(whole, limits.min, limits.max).astype(self.dtype)
        return found

    def real(self, integers: Array) -> Array:
        """The real numbers for integers, float32."""
        difference = np.asarray(integers, np.float32) - np.float32(self.zero_point)
        return difference * np.float32(self.scale)
