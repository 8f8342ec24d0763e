"""Converts the inputs of MLflow's signature to the form that the scorer of the flavour takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.errors import ModelLoadError
from models.tensors import Array, TensorSpec

Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Adapter:
    """The inputs that a model takes, and their conversion to those of its scorer.

    Attributes:
      inputs: the inputs, by name.
      adapt: converts these inputs, whose names and shapes have been checked, to the scorer's inputs.
    """

    inputs: Mapping[str, TensorSpec]
    adapt: Callable[[Arrays], Arrays]


def adapted(outer: Sequence[TensorSpec] | None, inner: Mapping[str, TensorSpec]) -> Adapter:
    """The adapter from the inputs of MLflow's signature to those of a scorer.

    Args:
      outer: the inputs of the signature, in order; None without a signature.
      inner: the inputs of the scorer.

    Raises:
      ModelLoadError: the two do not fit; the message lists both.

    >>> columns = [TensorSpec(name, np.dtype(np.float64), (None,)) for name in ("a", "b")]
    >>> adapter = adapted(columns, {"X": TensorSpec("X", np.dtype(np.float32), (None, 2))})
    >>> adapter.adapt({"b": np.array([2.0]), "a": np.array([1.0])})
    {'X': array([[1., 2.]], dtype=float32)}
    """
    if outer is None:
        return Adapter(inner, dict)
    only = next(iter(inner.values())) if len(inner) == 1 else None
    if only is not None and len(outer) == 1 and outer[0].name in ("", only.name):
        return _renamed(replace(outer[0], name=only.name), only)
    specs = {spec.name: spec for spec in outer}
    if specs.keys() == inner.keys():
        for name, spec in specs.items():
            _check(spec, inner[name], spec.shape)
        return Adapter(specs, lambda inputs: {name: _cast(inputs[name], inner[name]) for name in inner})
    if only is not None and all(spec.shape == (None,) for spec in outer):
        return _stacked(specs, only)
    if only is not None and len(outer) == 1:
        return _renamed(outer[0], only)
    raise ModelLoadError(
        f"MLflow's signature has the inputs {_text(outer)}, but the model takes {_text(inner.values())}"
    )


def _renamed(outer: TensorSpec, inner: TensorSpec) -> Adapter:
    _check(outer, inner, outer.shape)
    return Adapter({outer.name: outer}, lambda inputs: {inner.name: _cast(inputs[outer.name], inner)})


def _stacked(specs: Mapping[str, TensorSpec], inner: TensorSpec) -> Adapter:
    """Columns as one matrix, in the order of the signature."""
    for spec in specs.values():
        _check(spec, inner, (None, len(specs)))

    def adapt(inputs: Arrays) -> Arrays:
        rows = len(next(iter(inputs.values())))
        matrix = np.empty((rows, len(specs)), inner.dtype)
        for place, name in enumerate(specs):
            matrix[:, place] = inputs[name]
        return {inner.name: matrix}

    return Adapter(specs, adapt)


def _check(outer: TensorSpec, inner: TensorSpec, shape: tuple[int | None, ...] | None) -> None:
    """Raises ModelLoadError unless values of the outer spec can be passed, in this shape, to the inner one."""
    if not np.can_cast(outer.dtype, inner.dtype, "same_kind") or (outer.dtype != inner.dtype == np.dtype(object)):
        raise ModelLoadError(
            f"MLflow's signature has {outer.name!r} of {outer.dtype}, but the model takes {inner.name!r} of "
            f"{inner.dtype}; log the model with a signature that fits, or use --option flavour=python_function"
        )
    sizes = () if shape is None or inner.shape is None else zip(shape[1:], inner.shape[1:], strict=False)
    if (
        shape is not None
        and inner.shape is not None
        and (len(shape) != len(inner.shape) or any(None not in pair and pair[0] != pair[1] for pair in sizes))
    ):
        raise ModelLoadError(
            f"MLflow's signature gives {outer.name!r} the shape {list(shape)}, but the model takes {inner.name!r} of "
            f"shape {list(inner.shape)}; log the model with a signature that fits"
        )


def _cast(array: Array, inner: TensorSpec) -> Array:
    return array.astype(inner.dtype, copy=False)


def _text(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(f"{spec.name or 'without a name'} {spec.dtype}" for spec in specs)
