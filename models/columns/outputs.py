"""The outputs of a model, grouped by the records of the call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from models.errors import ScoringError
from models.tensors import Array, Signature


@dataclass(frozen=True)
class RecordOutputs:
    """The outputs of a list of records.

    Attributes:
      arrays: by output name.
      bounds: int64 [records + 1]: record i has the rows bounds[i] to bounds[i + 1]; None if record i has row i.
    """

    arrays: dict[str, Array]
    bounds: npt.NDArray[np.int64] | None

    def of(self, index: int) -> dict[str, Array]:
        """The outputs of one record: without the batch dimension, or with one row per item."""
        if self.bounds is None:
            return {name: array[index, ...] for name, array in self.arrays.items()}
        rows = slice(self.bounds[index], self.bounds[index + 1])
        return {name: array[rows] for name, array in self.arrays.items()}

    def only(self, index: int) -> RecordOutputs:
        """The outputs of one record, as a list of one."""
        start, end = (index, index + 1) if self.bounds is None else self.bounds[index : index + 2].tolist()
        bounds = None if self.bounds is None else np.array([0, end - start])
        return RecordOutputs({name: array[start:end] for name, array in self.arrays.items()}, bounds)

    def each(self) -> list[dict[str, Array]]:
        """The outputs of each record: arrays whose first dimension is the number of its rows.

        Example:
          >>> RecordOutputs({"y": np.arange(3)}, np.array([0, 1, 3])).each()
          [{'y': array([0])}, {'y': array([1, 2])}]
        """
        count = len(next(iter(self.arrays.values()), ()))
        bounds = range(count + 1) if self.bounds is None else self.bounds.tolist()
        return [{name: array[start:end] for name, array in self.arrays.items()} for start, end in pairwise(bounds)]

    def take(self, places: npt.NDArray[np.int64]) -> RecordOutputs:
        """The outputs of the records at these places, in that order."""
        if self.bounds is None:
            return RecordOutputs({name: array[places] for name, array in self.arrays.items()}, None)
        starts, lengths = self.bounds[:-1][places], np.diff(self.bounds)[places]
        bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        rows = np.arange(bounds[-1]) + np.repeat(starts - bounds[:-1], lengths)
        return RecordOutputs({name: array[rows] for name, array in self.arrays.items()}, bounds)


def flat_rows(array: Array) -> Array:
    """An output as a vector for each row, also if there are no rows: [rows, values].

    >>> flat_rows(np.zeros((0, 2, 3))).shape
    (0, 6)
    """
    return array.reshape(len(array), int(np.prod(array.shape[1:], dtype=np.int64)))


def joined_outputs(parts: Sequence[RecordOutputs]) -> RecordOutputs:
    """Concatenates the outputs of several lists of records; all of them have the same names and shapes."""
    first = parts[0]
    if len(parts) == 1:
        return first
    arrays = {name: np.concatenate([part.arrays[name] for part in parts]) for name in first.arrays}
    if first.bounds is None:
        return RecordOutputs(arrays, None)
    lengths = np.concatenate([np.diff(part.bounds) for part in parts if part.bounds is not None])
    return RecordOutputs(arrays, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]))


def select_outputs(
    outputs: Mapping[str, Array],
    wanted: Mapping[str, str],
    rows: int,
    bounds: npt.NDArray[np.int64] | None = None,
) -> RecordOutputs:
    """The outputs of a call, by their names in the result and grouped by record.

    Args:
      outputs: the outputs, by the model's names.
      wanted: maps names in the result to the model's names; empty for all outputs under the model's names.
      rows: the number of rows of the inputs.
      bounds: as in `RecordOutputs`.

    Raises:
      ScoringError: a wanted output is missing, or does not have one row for each input row.
    """
    arrays = {}
    for name, source in (wanted or {name: name for name in outputs}).items():
        if source not in outputs:
            returned = ", ".join(sorted(outputs)) or "none"
            raise ScoringError(f"the model returned no output {source!r}; it returned {returned}")
        array = outputs[source]
        if array.ndim == 0 or array.shape[0] != rows:
            raise ScoringError(f"output {source!r} has shape {list(array.shape)}, but {rows} rows were scored")
        arrays[name] = _writable(source, array)
    return RecordOutputs(arrays, bounds)


def _writable(name: str, array: Array) -> Array:
    """The output in a dtype that results can represent."""
    if array.dtype.kind == "V":  # bfloat16 and similar types
        return array.astype(np.float32)
    if array.dtype.kind == "u" and array.dtype.itemsize == 8 and array.size and int(array.max()) >= 1 << 63:
        raise ScoringError(f"output {name!r} holds {int(array.max())}, which does not fit 64 bits with a sign")
    if array.dtype.kind not in "fiubOSU":
        raise ScoringError(f"output {name!r} has dtype {array.dtype}, which a result cannot hold")
    return array


def no_outputs(signature: Signature, wanted: Mapping[str, str], records: int, exploded: bool) -> RecordOutputs:
    """The outputs of records without rows: empty arrays, for which no call of the model is needed.

    Args:
      signature: the signature of the model.
      wanted: as in `select_outputs`.
      records: the number of records.
      exploded: whether a record has one row for each item of an array field.
    """
    arrays: dict[str, Array] = {}
    for name, source in (wanted or {name: name for name in signature.outputs}).items():
        spec = signature.outputs.get(source)
        tail = () if spec is None or spec.shape is None else tuple(size or 0 for size in spec.shape[1:])
        arrays[name] = np.empty((0, *tail), np.float32 if spec is None else spec.dtype)
    return RecordOutputs(arrays, np.zeros(records + 1, np.int64) if exploded else None)
