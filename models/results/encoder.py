"""Encodes results: the input record, the outputs by name, and the model with its location, time and duration.

A result is a `ScoringResult` in Avro's single-object encoding (`models.results.schema`), or a JSON object with the same
fields, depending on how the records' codec embeds them. Results are assembled from columns: the record's bytes are
copied unchanged, the fields that all records of a call share are encoded once, and arrays of floats are copied straight
from memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from models.columns.outliers import FLAGGED, Scores
from models.columns.outputs import RecordOutputs
from models.columns.scored import ModelCall, StepCall
from models.encoding import avro_bytes as avro
from models.records.batch import Longs
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
    """Encodes the results of lists of records.

    Attributes:
      embedding: how results embed the records.
      topic: the topic of the results; with a schema registry, their schema is registered for it.
      outliers: whether results have fields for scores of outliers.
    """

    embedding: Embedding
    topic: str = ""
    outliers: bool = False

    def prepare(self) -> None:
        """Prepares the parts that all results share; raises ServingError if their schema cannot be registered."""
        if self.embedding.encoding == "avro":
            assert self._header

    def encode(
        self,
        call: ModelCall,
        origin: Origin,
        embedded: pa.BinaryArray,
        offsets: Longs,
        outputs: RecordOutputs | None,
        scores: Scores | None = None,
    ) -> pa.BinaryArray:
        """Encodes one result for each record, in the order of the records.

        Args:
          call: the call that scored all of them.
          origin: the partition that they came from.
          embedded: the records as embedded in their results.
          offsets: the offsets of the records.
          outputs: the outputs; None if there are none, with the reason in `call.error`.
          scores: the scores of outliers; None if there are none.

        Raises:
          OverflowError, pyarrow.ArrowInvalid: the results do not fit one column.
        """
        if self.embedding.encoding == "json":
            tails = _outliers_as_json(scores, len(embedded)) if self.outliers else None
            encoded = _encode_json(call, origin, embedded.to_pylist(), offsets.tolist(), outputs, tails)
            return pa.array(encoded, pa.binary())
        return _joined(
            [
                self._header,
                embedded,
                *_encode_outputs(outputs, len(embedded)),
                avro.encode_optional(call.error),
                avro.encode_longs(offsets),
                _shared_avro(call, origin),
                *([_encode_outliers(scores)] if self.outliers else []),
            ]
        )

    @cached_property
    def _header(self) -> bytes:
        return self.embedding.framing.header(self.topic, result_schema(self.embedding, self.outliers))


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


def _joined(parts: Sequence[bytes | pa.BinaryArray]) -> pa.BinaryArray:
    """The parts of each result, one after the other; bytes are the same in all of them.

    Arrow does this in one call, which releases the interpreter lock for other threads.
    """
    columns = [pa.scalar(part, pa.binary()) if isinstance(part, bytes) else part for part in parts]
    return pc.binary_join_element_wise(*columns, pa.scalar(b"", pa.binary()))


def _encode_outputs(outputs: RecordOutputs | None, count: int) -> list[bytes | pa.BinaryArray]:
    """The outputs map of each record, in parts."""
    if outputs is None or not outputs.arrays:
        return [avro.END_OF_BLOCKS]
    parts: list[bytes | pa.BinaryArray] = [avro.encode_long(len(outputs.arrays))]
    for name, array in outputs.arrays.items():
        parts += _encode_column(avro.encode_string(name), array, outputs.bounds, count)
    return [*parts, avro.END_OF_BLOCKS]


def _encode_column(name: bytes, array: Array, bounds: Any, count: int) -> list[bytes | pa.BinaryArray]:
    """One entry of the outputs map, in parts."""
    branch = avro.encode_long(_branch(array))
    tail = tuple(array.shape[1:])
    items = math.prod(tail)

    def opening(length: int) -> bytes:
        shape = _encode_shape(tail if bounds is None else (length, *tail))
        return name + shape + branch + (avro.encode_long(length * items) if length * items else b"")

    if bounds is None:
        return [opening(1), avro.encode_items(array, np.arange(count + 1) * items), avro.END_OF_BLOCKS]
    lengths, kinds = np.unique(np.diff(bounds), return_inverse=True)
    openings = [opening(length) for length in lengths.tolist()]
    first = openings[0] if len(openings) == 1 else pa.array(openings, pa.binary()).take(pa.array(kinds))
    return [first, avro.encode_items(array, bounds * items), avro.END_OF_BLOCKS]


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


def _encode_outliers(scores: Scores | None) -> bytes | pa.BinaryArray:
    """The score of each record and whether it is an outlier, after the branches of their unions."""
    if scores is None:
        return avro.NULL + avro.NULL
    fields = np.zeros(len(scores), [("some", "u1"), ("score", "<f4"), ("also", "u1"), ("flag", "u1")])
    fields["some"] = fields["also"] = 2  # the long 1, as Avro writes it
    fields["score"], fields["flag"] = scores, scores > FLAGGED
    ends = np.arange(len(scores) + 1, dtype=np.int32) * fields.itemsize
    return pa.Array.from_buffers(pa.binary(), len(scores), [None, pa.py_buffer(ends), pa.py_buffer(fields.tobytes())])


def _outliers_as_json(scores: Scores | None, count: int) -> list[bytes]:
    """The end of the metadata of each record."""
    if scores is None:
        return [b',"outlierScore":null,"outlier":null}'] * count
    flags = (b"false", b"true")
    return [
        b',"outlierScore":%b,"outlier":%b}' % (orjson.dumps(score), flags[score > FLAGGED]) for score in scores.tolist()
    ]


def _encode_json(
    call: ModelCall,
    origin: Origin,
    embedded: Sequence[bytes],
    offsets: Sequence[int],
    outputs: RecordOutputs | None,
    tails: Sequence[bytes] | None,
) -> list[bytes]:
    """Copies the record's text unchanged; its codec has checked that it is JSON."""
    shared = orjson.dumps(_shared_json(call, origin))[1:]
    error = orjson.dumps(call.error)
    tensors = [b"{}"] * len(embedded) if outputs is None else _tensors_as_json(outputs, len(embedded))
    ends = [shared] * len(embedded) if tails is None else [shared[:-1] + tail for tail in tails]
    return [
        b'{"inputRecord":%b,"outputs":%b,"modelResultMetadata":{"errors":%b,"offset":%d,%b}'
        % (record, tensor, error, offset, end)
        for record, tensor, offset, end in zip(embedded, tensors, offsets, ends, strict=True)
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
        tensors.append(orjson.dumps(record))  # writes null for numbers that are not finite
    return tensors


def _json_items(array: Array) -> list[Any]:
    items: list[Any] = array.ravel().tolist()
    plain = array.dtype.kind in "iub" or (array.dtype.kind == "f" and array.dtype.itemsize <= 8)
    return items if plain else [json_value(item) for item in items]


def tensor_as_json(array: Array) -> dict[str, Any]:
    """An output as JSON: shape and values. Non-finite numbers become null, and bytes that are not text base64."""
    return {"shape": list(array.shape), "values": [json_value(item) for item in array.ravel().tolist()]}
