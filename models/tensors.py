"""The arrays that models take and return, and how a model describes them."""

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
      name: its name in the signature.
      dtype: a numpy dtype; strings are `object` (arrays of bytes).
      shape: the dimensions, the batch first, with None for any size; None when the rank is unknown.
    """

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Signature:
    """The named inputs and outputs of one entry point of a model.

    Attributes:
      name: the name of the entry point, such as serving_default.
      inputs: the inputs by name.
      outputs: the outputs by name; empty when the server does not report them.
    """

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec] = field(default_factory=dict)


def sample_inputs(signature: Signature, samples: Mapping[str, bytes] | None = None) -> dict[str, Array]:
    """One row of zeros, empty strings or samples for each input; a dimension of any size gets the size 1."""
    return {name: _sample(spec, (samples or {}).get(name, b"")) for name, spec in signature.inputs.items()}


def _sample(spec: TensorSpec, text: bytes) -> Array:
    shape = (1,) if spec.shape is None else (1, *(size or 1 for size in spec.shape[1:]))
    if spec.dtype != np.dtype(object):
        return np.zeros(shape, spec.dtype)
    texts = np.empty(shape, object)
    texts.fill(text)  # np.full would cut the zeros at the end of the bytes off
    return texts
