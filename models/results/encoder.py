"""Encodes results: the input record, the outputs by name, and which model gave them, from where, when, in what time.

A result is a `ScoringResult` in Avro's single-object encoding (`models.results.schema`), or a JSON object of the same
fields, as the records' codec embeds them. Results are assembled from columns: the record's bytes are copied as they
are, what all records of a call share is encoded once, and arrays of floats are copied as they lie in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import orjson

from models.columns.outputs import RecordOutputs
from models.columns.scored import ModelCall, StepCall
from models.encoding import avro_bytes as avro
from models.records.codecs.base import Embedding
from models.results.json_values import json_value
from models.results.schema import result_schema
from models.tensors import Array

NO_MODEL = "No model server defined"

# The order of the branches of Tensor.values, by numpy's dtype kind.
_BRANCHES = {"f4": 0, "f8": 1, "i": 2, "b": 3, "O": 4}


@dataclass(frozen=True)
class Origin:
    """Where the records of one batch came from."""

    topic: str
    partition: int


@dataclass(frozen=True)
class ResultEncoder:
    """Encodes the results of lists of records that are embedded so.

    Attributes:
      embedding: how the records stand in their results.
      topic: where the results go; where a schema registry is used, their schema is registered for it.
    """

    embedding: Embedding
    topic: str = ""

    def prepare(self) -> None:
        """Makes what all results share; raises ServingError when their schema cannot be registered."""
        if self.embedding.encoding == "avro":
            assert self._header

    def encode(
        self,
        call: ModelCall,
        origin: Origin,
        embedded: Sequence[bytes],
        offsets: Sequence[int],
        outputs: RecordOutputs | None,
    ) -> list[bytes]:
        """One result for each record, in their order.

        Args:
          call: the call that scored them all.
          origin: the partition they came from.
          embedded: the records as they stand in their results.
          offsets: of the records.
          outputs: None when there are none: the reason is `call.error`.
        """
        if self.embedding.encoding == "json":
            return _encode_json(call, origin, embedded, offsets, outputs)
        before = self._header
        error = avro.encode_optional(call.error)
        after = _shared_avro(call, origin)
        encoded = [avro.END_OF_BLOCKS] * len(embedded) if outputs is None else _encode_outputs(outputs, len(embedded))
        return [
            b"".join((before, record, output, error, offset, after))
            for record, output, offset in zip(embedded, encoded, avro.encode_longs(offsets), strict=True)
        ]

    @cached_property
    def _header(self) -> bytes:
        return self.embedding.framing.header(self.topic, result_schema(self.embedding))


def _shared_avro(call: ModelCall, origin: Origin) -> bytes:
    """The fields of ModelResultMetadata after `offset`, in the order of its schema."""
    model = call.model
    named = (
        (None,) * 6
        if model is None
        else (model.name, model.version, model.model_type, model.location, model.digest, model.descriptor_offset)
    )
    return b"".join(
        [
            avro.encode_long(origin.partition),
            avro.encode_string(origin.topic),
            *map(avro.encode_optional, named),
            avro.encode_long(call.start),
            avro.encode_long(call.duration),
            avro.encode_long(call.batch_size),
            *map(avro.encode_optional, _routed(call)),
            _encode_steps(call.steps),
        ]
    )


def _encode_steps(steps: Sequence[StepCall]) -> bytes:
    if not steps:
        return avro.NULL
    encoded = [
        avro.encode_string(step.name)
        + avro.encode_optional(step.model)
        + avro.encode_optional(step.version)
        + avro.encode_long(step.duration)
        + avro.encode_optional(step.error)
        for step in steps
    ]
    return avro.encode_long(1) + avro.encode_array(len(encoded), b"".join(encoded))


def _routed(call: ModelCall) -> tuple[int | None, str | None, str | None]:
    route = call.route
    return (None, None, None) if route is None else (route.offset, route.arm, route.role)


def _encode_outputs(outputs: RecordOutputs, count: int) -> list[bytes]:
    """The outputs map of each record."""
    columns: list[list[bytes]] = []
    for name, array in outputs.arrays.items():
        columns.append(_encode_column(avro.encode_string(name), array, outputs.bounds, count))
    if not columns:
        return [avro.END_OF_BLOCKS] * count
    opening = avro.encode_long(len(columns))
    if len(columns) == 1:
        return [opening + entry + avro.END_OF_BLOCKS for entry in columns[0]]
    return [b"".join((opening, *entries, avro.END_OF_BLOCKS)) for entries in zip(*columns, strict=True)]


def _encode_column(name: bytes, array: Array, bounds: Any, count: int) -> list[bytes]:
    """One entry of the outputs map, for each record."""
    branch = avro.encode_long(_branch(array))
    tail = tuple(array.shape[1:])
    items = math.prod(tail)
    starts, lengths = _rows(bounds, count)
    openings = {
        length: name + _encode_shape(tail if bounds is None else (length, *tail)) + branch for length in set(lengths)
    }
    width = avro.item_width(array)
    if width is None:
        return [
            openings[length] + avro.encode_array(length * items, avro.encode_items(array[start : start + length]))
            for start, length in zip(starts, lengths, strict=True)
        ]
    flat, row = avro.encode_fixed_items(array), items * width
    counts = {length: avro.encode_long(length * items) for length in openings}
    before = {length: opening + (counts[length] if length * items else b"") for length, opening in openings.items()}
    after = avro.END_OF_BLOCKS
    return [
        before[length] + flat[start * row : (start + length) * row] + after
        for start, length in zip(starts, lengths, strict=True)
    ]


def _rows(bounds: Any, count: int) -> tuple[Iterable[int], Sequence[int]]:
    """Where each record's rows start, and how many there are."""
    if bounds is None:
        return range(count), [1] * count
    return bounds[:-1].tolist(), np.diff(bounds).tolist()


def _encode_shape(shape: tuple[int, ...]) -> bytes:
    return avro.encode_array(len(shape), b"".join(map(avro.encode_long, shape)))


def _branch(array: Array) -> int:
    kind = array.dtype.kind
    if kind == "f":
        return _BRANCHES["f8" if array.dtype.itemsize >= 8 else "f4"]
    if kind in "iu":
        return _BRANCHES["i"]
    return _BRANCHES["b" if kind == "b" else "O"]


def _encode_json(
    call: ModelCall,
    origin: Origin,
    embedded: Sequence[bytes],
    offsets: Sequence[int],
    outputs: RecordOutputs | None,
) -> list[bytes]:
    """The record's text is copied as it came; its codec has made sure that it is JSON."""
    shared = orjson.dumps(_shared_json(call, origin))[1:]
    error = orjson.dumps(call.error)
    tensors = [b"{}"] * len(embedded) if outputs is None else _tensors_as_json(outputs, len(embedded))
    return [
        b'{"inputRecord":%b,"outputs":%b,"modelResultMetadata":{"errors":%b,"offset":%d,%b}'
        % (record, tensor, error, offset, shared)
        for record, tensor, offset in zip(embedded, tensors, offsets, strict=True)
    ]


def _shared_json(call: ModelCall, origin: Origin) -> dict[str, Any]:
    model = call.model
    return {
        "partition": origin.partition,
        "topic": origin.topic,
        "modelName": model and model.name,
        "modelVersion": model and model.version,
        "modelType": model and model.model_type,
        "modelSourceLocation": model and model.location,
        "digest": model and model.digest,
        "descriptorOffset": model and model.descriptor_offset,
        "startTime": call.start,
        "duration": call.duration,
        "batchSize": call.batch_size,
        **dict(zip(("routeOffset", "arm", "role"), _routed(call), strict=True)),
        "steps": [_step_as_json(step) for step in call.steps] or None,
    }


def _step_as_json(step: StepCall) -> dict[str, Any]:
    return {
        "name": step.name,
        "modelName": step.model,
        "modelVersion": step.version,
        "duration": step.duration,
        "errors": step.error,
    }


def _tensors_as_json(outputs: RecordOutputs, count: int) -> list[bytes]:
    starts, lengths = _rows(outputs.bounds, count)
    columns = {name: (array.shape[1:], _json_items(array)) for name, array in outputs.arrays.items()}
    tensors = []
    for start, length in zip(starts, lengths, strict=True):
        record = {}
        for name, (tail, items) in columns.items():
            row = math.prod(tail)
            shape = list(tail) if outputs.bounds is None else [length, *tail]
            record[name] = {"shape": shape, "values": items[start * row : (start + length) * row]}
        tensors.append(orjson.dumps(record))  # writes null for what is not finite
    return tensors


def _json_items(array: Array) -> list[Any]:
    items: list[Any] = array.ravel().tolist()
    plain = array.dtype.kind in "iub" or (array.dtype.kind == "f" and array.dtype.itemsize <= 8)
    return items if plain else [json_value(item) for item in items]


def tensor_as_json(array: Array) -> dict[str, Any]:
    """An output as JSON: its shape and its values; what is not finite is null, bytes that are not text are base64."""
    return {"shape": list(array.shape), "values": [json_value(item) for item in array.ravel().tolist()]}
