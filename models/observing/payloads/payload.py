"""One request of a model and its answer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.columns.field_values import TEXT, is_text, values_of
from models.columns.mapping import InputMapping, to_model_inputs
from models.columns.outputs import RecordOutputs
from models.columns.scored import ModelCall, ScoredRecords
from models.errors import FieldValueError
from models.observing.answered import AnsweredBatch
from models.observing.confidence import confidences
from models.tensors import Array

Chosen = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Inputs:
    """What a model got for one record.

    Attributes:
      arrays: by input name, or by field name without a signature; the first dimension of each is the number of rows.
      signature: the name of the signature; None if no model got these inputs by themselves, in which case they are the
        fields of the record.
    """

    arrays: Mapping[str, Array]
    signature: str | None


@dataclass(frozen=True)
class Payload:
    """One request and its answer.

    Attributes:
      topic, partition, offset: where the record is.
      timestamp: of the record, in milliseconds since 1970-01-01 UTC.
      data_type: the data type of the record.
      call: the call of the model, in which the record was one of several.
      inputs: what the model got.
      outputs: the outputs by name; the first dimension of each is the number of rows. None if there are none.
      confidence: how sure the model was (`models.observing.confidence`); None if its outputs do not tell.
      live: whether it is the live answer; otherwise it is that of a shadow.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    data_type: str
    call: ModelCall
    inputs: Inputs
    outputs: Mapping[str, Array] | None
    confidence: float | None
    live: bool

    @property
    def coordinates(self) -> str:
        """TOPIC-PARTITION-OFFSET of the record."""
        return f"{self.topic}-{self.partition}-{self.offset}"


def payloads_of(answered: AnsweredBatch, chosen: Chosen) -> Iterator[Payload]:
    """The requests and answers of the chosen records.

    Args:
      answered: the batch.
      chosen: bool [records of the batch], whether each record is chosen.
    """
    for part in answered.scored:
        indices = chosen_indices(answered, part, chosen)
        if len(indices):
            yield from _payloads(answered, part, indices)


def chosen_indices(answered: AnsweredBatch, part: ScoredRecords, chosen: Chosen) -> Rows:
    """The indices of the chosen records among those that were scored together."""
    return np.flatnonzero(chosen[answered.decoded.places[part.rows]])


def _payloads(answered: AnsweredBatch, part: ScoredRecords, indices: Rows) -> Iterator[Payload]:
    batch, rows = answered.batch, part.rows[indices]
    places = answered.decoded.places[rows]
    taken = None if part.outputs is None else part.outputs.take(indices)
    outputs: Iterable[Mapping[str, Array] | None] = repeat(None, len(rows)) if taken is None else taken.each()
    sure = np.full(len(rows), np.nan) if taken is None else confidences(taken)
    every = zip(
        batch.offsets[places].tolist(),
        batch.timestamps[places].tolist(),
        _inputs(part.mapping, answered.decoded.only(rows)),
        outputs,
        sure.tolist(),
        strict=True,
    )
    for offset, timestamp, inputs, given, confidence in every:
        yield Payload(
            batch.span.topic,
            batch.span.partition,
            offset,
            timestamp,
            part.data_type,
            part.call,
            inputs,
            given,
            None if math.isnan(confidence) else confidence,
            answered.live,
        )


def _inputs(mapping: InputMapping | None, columns: pa.RecordBatch) -> list[Inputs]:
    """The inputs of each record."""
    if mapping is None:
        return [Inputs(field_arrays(columns.slice(row, 1)), None) for row in range(columns.num_rows)]
    try:
        return _mapped(mapping, columns)
    except FieldValueError:
        if columns.num_rows > 1:  # one record may be the cause
            return [one for row in range(columns.num_rows) for one in _inputs(mapping, columns.slice(row, 1))]
        return _inputs(None, columns)


def _mapped(mapping: InputMapping, columns: pa.RecordBatch) -> list[Inputs]:
    filled = to_model_inputs(mapping, columns)
    return [Inputs(arrays, mapping.signature) for arrays in RecordOutputs(filled.arrays, filled.bounds).each()]


def field_arrays(record: pa.RecordBatch) -> dict[str, Array]:
    """The fields of one record that are numbers, texts or arrays of them, each with one row; others are left out.

    Example:
      >>> field_arrays(pa.RecordBatch.from_pylist([{"x": 1.5, "tags": ["a", "b"], "nothing": None}]))
      {'x': array([1.5]), 'tags': array([[b'a', b'b']], dtype=object)}
    """
    found = {name: _array(column) for name, column in zip(record.schema.names, record.columns, strict=True)}
    return {name: array for name, array in found.items() if array is not None}


def _array(column: pa.Array) -> Array | None:
    kind = column.type
    if column.null_count:
        return None
    if pa.types.is_list(kind):
        items = None if pa.types.is_list(kind.value_type) else _array(column.flatten())
        return None if items is None else items.reshape(1, -1)
    if is_text(kind):
        return values_of(column, TEXT)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        array: Array = column.to_numpy(zero_copy_only=False)
        return array
    return None
