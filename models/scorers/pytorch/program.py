"""The common parts of both program formats: the types of tensors, the names of results, the texts of errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from models.errors import ServingError
from models.scorers.in_process import engine_text
from models.scorers.pytorch.input_option import TYPES
from models.tensors import Signature

SIGNATURE = "forward"
DTYPES: Mapping[torch.dtype, np.dtype[np.generic]] = {getattr(torch, name): dtype for name, dtype in TYPES.items()}


@dataclass(frozen=True)
class Program:
    """A loaded program: `call` takes its inputs by name, and returns a value that `named_results` accepts."""

    call: Callable[..., Any]
    signature: Signature


def named_results(returned: Any, error: type[ServingError]) -> dict[str, torch.Tensor]:
    """The outputs by name, from a tensor, a tuple or list of tensors, or a dict.

    Raises:
      error: the value is something else, contains something else, or has a numeric type that numpy lacks.
    """
    named = _named(returned)
    if not named:
        raise error(f"the model returned a {type(returned).__name__}, not a tensor, a tuple or a dict of tensors")
    for name, value in named.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise error(f"output {name!r} is a {type(value).__name__}; a text as name and a tensor are expected")
        if value.dtype not in DTYPES:
            raise error(f"output {name!r} is {value.dtype}; convert it in the model, for example with float()")
    return named


def _named(returned: Any) -> dict[Any, Any]:
    if isinstance(returned, torch.Tensor):
        return {"output": returned}
    if isinstance(returned, (tuple, list)):
        return {f"output_{place}": one for place, one in enumerate(returned)}
    return dict(returned) if isinstance(returned, Mapping) else {}


def one_line(error: BaseException) -> str:
    """The last line of PyTorch's error; the lines before it trace the call through the program."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    marked = [line for line in lines if "Error: " in line]
    return engine_text(error, (marked or lines[:1] or [""])[-1])
