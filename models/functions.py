"""Functions from columns to columns, which packages add for models of the type `python`.

A package states what its function takes, and names it in an entry point of the group `beam_serving.functions`::

    @column_function(inputs={"price": Column("float64")}, outputs={"net": Column("float64")})
    def net(columns, rate=0.2):
        return {"net": columns["price"] / (1 + rate)}

    [project.entry-points."beam_serving.functions"]
    acme-net = "acme.prices:net"
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.tensors import Array, TensorSpec

TEXT = "text"

_SERVED_KINDS = "biuf"


@dataclass(frozen=True)
class Column:
    """One input or output.

    Attributes:
      dtype: the name of a numpy dtype of numbers or booleans, or "text" for arrays of objects, which are bytes.
      sizes: the dimensions behind the rows; None for any size.

    Raises:
      ValueError: when the dtype is not one of those.
    """

    dtype: str
    sizes: tuple[int | None, ...] = ()

    def __post_init__(self) -> None:
        try:
            served = self.dtype == TEXT or np.dtype(self.dtype).kind in _SERVED_KINDS
        except TypeError:
            served = False
        if not served:
            raise ValueError(f"{self.dtype!r} is neither a dtype of numbers or booleans nor {TEXT!r}")

    def spec(self, name: str) -> TensorSpec:
        """The column as part of a signature.

        >>> Column("float32", (8,)).spec("embedding")
        TensorSpec(name='embedding', dtype=dtype('float32'), shape=(None, 8))
        """
        dtype = np.dtype(object) if self.dtype == TEXT else np.dtype(self.dtype)
        return TensorSpec(name, dtype, (None, *self.sizes))


def specs_of(columns: Mapping[str, Column]) -> dict[str, TensorSpec]:
    """The columns as one side of a signature."""
    return {name: column.spec(name) for name, column in columns.items()}


@dataclass(frozen=True)
class ColumnFunction:
    """A function, and what it states about its signature.

    Attributes:
      function: takes the columns, arrays that it must not change with one row for each record, and parameters by name;
        returns arrays or lists with as many rows. Several threads may call it at once.
      inputs: the columns that it takes.
      outputs: those that it returns; empty if it does not state them.
    """

    function: Callable[..., Mapping[str, Any]]
    inputs: Mapping[str, Column]
    outputs: Mapping[str, Column] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ValueError("a function without inputs would give all records the same answer")

    def __call__(self, columns: Mapping[str, Array], **parameters: Any) -> Mapping[str, Any]:
        """Calls the function."""
        return self.function(columns, **parameters)

    def check_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Raises TypeError when the function cannot be called with these parameters."""
        inspect.signature(self.function).bind({}, **parameters)


def column_function(
    inputs: Mapping[str, Column], outputs: Mapping[str, Column] | None = None
) -> Callable[[Callable[..., Mapping[str, Any]]], ColumnFunction]:
    """Declares the inputs, and perhaps the outputs, of a function.

    >>> @column_function(inputs={"price": Column("float64")})
    ... def net(columns, rate=0.25):
    ...     return {"net": columns["price"] / (1 + rate)}
    >>> net({"price": np.array([1.0])})["net"].tolist(), net.inputs
    ([0.8], {'price': Column(dtype='float64', sizes=())})
    """
    return lambda function: ColumnFunction(function, inputs, outputs or {})
