"""Beam's model handlers, which packages provide for models of the type `beam-model-handler`.

A package declares how a handler is created, and names the declaration in an entry point of the group
`beam_serving.model_handlers`::

    WINE = InstalledHandler(OnnxModelHandlerNumpy, inputs={"X": Column("float32", (11,))})

    [project.entry-points."beam_serving.model_handlers"]
    acme-wine = "acme.handlers:WINE"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from apache_beam.ml.inference.base import ModelHandler

from models.functions import Column
from models.tensors import Array

BatchStyle = Literal["rows", "matrix", "one-array", "dicts"]


@dataclass(frozen=True)
class InstalledHandler:
    """How a handler is created and called.

    Attributes:
      create: returns the handler for the path of a model on this machine.
      inputs: the columns that the handler takes. Unless the batch style is `dicts`, several inputs become one array
        with a column for each, so they must have the same dtype and no dimensions of their own.
      batch: the argument of `run_inference`. `rows` is a list with one array per record; `matrix` is one array whose
        first dimension is the records; `one-array` is a list with only that array, for which the handler returns one
        result with one row per record; `dicts` is a list with one dictionary of values by input per record.
      folder: whether a model is a folder, which may be zipped; otherwise a model is a file.

    Raises:
      ValueError: the batch style is unknown, or the inputs do not fit it.
    """

    create: Callable[[str], ModelHandler[Any, Any, Any]]
    inputs: Mapping[str, Column]
    batch: BatchStyle = "rows"
    folder: bool = False

    def __post_init__(self) -> None:
        if self.batch not in get_args(BatchStyle):
            raise ValueError(f"batch style {self.batch!r} is not one of {', '.join(get_args(BatchStyle))}")
        if not self.inputs:
            raise ValueError("a handler needs inputs")
        alike = len({one.dtype for one in self.inputs.values()}) == 1 and not any(
            one.sizes for one in self.inputs.values()
        )
        if self.batch != "dicts" and len(self.inputs) > 1 and not alike:
            raise ValueError("inputs that become one array must have one dtype and no dimensions of their own")

    def batch_of(self, inputs: Mapping[str, Array], rows: int) -> Sequence[Any] | Array:
        """The inputs of a call in the batch style of the handler.

        Args:
          inputs: one array [rows, ...] for each input.
          rows: the number of rows.
        """
        if self.batch == "dicts":
            return [{name: inputs[name][row] for name in self.inputs} for row in range(rows)]
        arrays = [inputs[name] for name in self.inputs]
        array = arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=1)
        if self.batch == "rows":
            return list(array)
        return [array] if self.batch == "one-array" else array
