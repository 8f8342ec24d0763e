"""Signatures and types as TensorFlow Serving names them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from models.errors import ModelLoadError
from models.tensors import DTYPES

DEFAULT_SIGNATURE = "serving_default"

# Numpy dtypes by TensorFlow's names; strings are arrays of bytes.


def choose_signature(names: Collection[str], wanted: str | None, address: str) -> str:
    """The name of the signature to call: `wanted`, or by default serving_default or the only signature.

    Args:
      names: the names of the model's signatures.
      wanted: the signature in the descriptor, if any.
      address: the address of the model, for the error message.

    Raises:
      ModelLoadError: when the signature does not exist or the choice is ambiguous; the message lists the signatures.

    >>> choose_signature(["predict", "__saved_model_init_op"], None, "http://serving")
    'predict'
    >>> choose_signature(["predict", "explain"], None, "http://serving")
    Traceback (most recent call last):
        ...
    models.errors.ModelLoadError: http://serving: the descriptor must name a signature; signatures: explain, predict
    """
    # TensorFlow lists a model's initialization among its signatures, under names that start with two underscores.
    callable_names = sorted(name for name in names if not name.startswith("__"))
    if wanted in callable_names and wanted is not None:
        return wanted
    if wanted is None and DEFAULT_SIGNATURE in callable_names:
        return DEFAULT_SIGNATURE
    if wanted is None and len(callable_names) == 1:
        return callable_names[0]
    problem = f"there is no signature {wanted!r}" if wanted else "the descriptor must name a signature"
    raise ModelLoadError(f"{address}: {problem}; signatures: {', '.join(callable_names) or 'none'}")


def tensor_dtype(name: str, tensor: str, address: str) -> np.dtype[np.generic]:
    """The numpy dtype of TensorFlow's type `name`, such as DT_FLOAT.

    Raises:
      ModelLoadError: when numpy has no such dtype; the message names the tensor.
    """
    if name not in DTYPES:
        raise ModelLoadError(f"{address}: {tensor!r} is of type {name}, which is not supported")
    return DTYPES[name]
