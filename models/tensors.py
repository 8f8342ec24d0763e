"""The arrays that models take and return, and how a model describes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]

DTYPES: Mapping[str, np.dtype[np.generic]] = {
    "DT_FLOAT": np.dtype(np.float32),
    "DT_DOUBLE": np.dtype(np.float64),
    "DT_HALF": np.dtype(np.float16),
    "DT_INT8": np.dtype(np.int8),
    "DT_INT16": np.dtype(np.int16),
    "DT_INT32": np.dtype(np.int32),
    "DT_INT64": np.dtype(np.int64),
    "DT_UINT8": np.dtype(np.uint8),
    "DT_UINT16": np.dtype(np.uint16),
    "DT_UINT32": np.dtype(np.uint32),
    "DT_UINT64": np.dtype(np.uint64),
    "DT_BOOL": np.dtype(np.bool_),
    "DT_STRING": np.dtype(object),
    "DT_COMPLEX64": np.dtype(np.complex64),
    "DT_COMPLEX128": np.dtype(np.complex128),
}
"""numpy's dtypes, by the names of TensorFlow's."""


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
