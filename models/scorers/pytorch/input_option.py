"""The options that describe the inputs of TorchScript."""

from __future__ import annotations

import re

import numpy as np

from models.errors import ScorerOptionError
from models.scorers.in_process import names_text
from models.tensors import TensorSpec

OPTION_PREFIX = "input."
EXAMPLE = "float32:11"

# PyTorch and numpy use the same names for these types.
TYPES = {
    name: np.dtype(name)
    for name in ("bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8")
}
_INPUT = re.compile(r"(\w+)(?::((?:[1-9]\d{0,8}|any)(?:x(?:[1-9]\d{0,8}|any))*))?")


def input_spec(name: str, text: str) -> TensorSpec:
    """The spec of an input that an option describes.

    Raises:
      ScorerOptionError: the text is not TYPE or TYPE:SIZExSIZE.

    >>> input_spec("image", "uint8:3xanyxany")
    TensorSpec(name='image', dtype=dtype('uint8'), shape=(None, 3, None, None))
    """
    match = _INPUT.fullmatch(text)
    if match is None or match.group(1) not in TYPES:
        raise ScorerOptionError(
            f"option {OPTION_PREFIX}{name}: {text!r} is not a type and sizes, as in {EXAMPLE} or float32:3x224xany; "
            f"types: {names_text(TYPES)}"
        )
    sizes = match.group(2).split("x") if match.group(2) else []
    return TensorSpec(name, TYPES[match.group(1)], (None, *(None if one == "any" else int(one) for one in sizes)))
