"""The signature of a model whose server does not describe it: the inputs that the descriptor names.

Their types are given by the options `dtype.INPUT`, and are float32 otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from models.errors import ModelLoadError, ScorerOptionError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers.option_reader import OptionReader
from models.tensors import Signature, TensorSpec

Dtypes = Mapping[str, np.dtype[np.generic]]


def read_dtypes(reader: OptionReader, allowed: Collection[str]) -> Dtypes:
    """Reads the options `dtype.INPUT`, whose values are numpy's names of types, or `string` for arrays of bytes.

    Raises:
      ScorerOptionError: a type is not one of `allowed`.
    """
    names = reader.named("dtype", "INPUT")
    for name, text in names.items():
        if not name or text not in allowed:
            raise ScorerOptionError(f"option dtype.{name}: {text!r} is not one of {', '.join(allowed)}")
    return {name: np.dtype(object if text == "string" else text) for name, text in names.items()}


def assumed_signature(descriptor: ModelDescriptor, dtypes: Dtypes, name: str, why: str) -> Signature:
    """The signature whose inputs are those in the descriptor's mapping and in the options; shapes are unknown.

    Args:
      descriptor: the descriptor of the model.
      dtypes: the types of the inputs that are not float32.
      name: the name of the signature, unless the descriptor names one.
      why: the reason why the server's description is not used, for the error.

    Raises:
      ModelLoadError: no input is named.
    """
    names = sorted({*descriptor.inputs, *dtypes})
    if not names:
        raise ModelLoadError(
            f"{descriptor.model_source_location}: {why}; name the inputs in the descriptor's mapping, or by options "
            "dtype.INPUT"
        )
    inputs = {one: TensorSpec(one, dtypes.get(one, np.dtype(np.float32)), None) for one in names}
    return Signature(descriptor.signature or name, inputs)
