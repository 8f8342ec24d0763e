"""Arrays that go into models and come out of them, and how a model describes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a signature.

    Attributes:
      name: the name by which the signature knows it.
      dtype: a numpy dtype; strings are `object` (arrays of bytes).
      shape: the dimensions with the batch first, None where any size fits; None when the rank is unknown.
    """

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Signature:
    """The named inputs and outputs of one entry point of a model."""

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec] = field(default_factory=dict)
