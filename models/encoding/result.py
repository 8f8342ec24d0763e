"""Results: the input record, the outputs by name, and which model gave them, from where, when, in what time.

A result is a `ScoringResult` in Avro's single-object encoding, or a JSON object of the same fields, by the format of
the records. Its schema holds the schema of the records (`result_schema`).
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import fastavro
import fastavro.schema
import numpy as np

from models.encoding import avro_bytes as avro
from models.encoding.single_object import SingleObjectCodec
from models.errors import SchemaError
from models.records.schema import RecordSchema
from models.schemas import bundled_schema
from models.scorers.base import Array
from models.serving.mapping import RecordOutputs

NO_MODEL = "No model server defined"

# The order of the branches of Tensor.values, by numpy's dtype kind.
_BRANCHES = {"f4": 0, "f8": 1, "i": 2, "b": 3, "O": 4}
_VALUE_TYPES = (
    ("Floats", "float"),
    ("Doubles", "double"),
    ("Longs", "long"),
    ("Booleans", "boolean"),
    ("Texts", "bytes"),
)


@dataclass(frozen=True)
class ModelIdentity:
    """Which model scored.

    Attributes:
      name, version, model_type: as published; for a remote model the version that its server named, if any.
      location: where the model was taken from, or its server's address.
      digest: SHA-256 of the model's bytes; None for a model in another process.
      descriptor_offset: the descriptor's offset in the models topic.
    """

    name: str
    version: int | None
    model_type: str
    location: str
    digest: str | None
    descriptor_offset: int


@dataclass(frozen=True)
class Scoring:
    """One call of a model, or the lack of one.

    Attributes:
      model: who was asked; None when no model was there.
      start: when, in microseconds since 1970-01-01 UTC.
      duration: in microseconds.
      batch_size: how many records were scored together.
      error: why there are no outputs; None when there are.
    """

    model: ModelIdentity | None
    start: int
    duration: int
    batch_size: int
    error: str | None = None


def result_schema(records: RecordSchema) -> dict[str, Any]:
    """The Avro schema of the results of such records."""
    branches = [
        {"type": "record", "name": name, "fields": [{"name": "items", "type": {"type": "array", "items": kind}}]}
        for name, kind in _VALUE_TYPES
    ]
    tensor = {
        "type": "record",
        "name": "Tensor",
        "fields": [{"name": "shape", "type": {"type": "array", "items": "long"}}, {"name": "values", "type": branches}],
    }
    return {
        "type": "record",
        "name": "ScoringResult",
        "namespace": "beam.serving",
        "fields": [
            {"name": "inputRecord", "type": records.declared},
            {"name": "outputs", "type": {"type": "map", "values": tensor}},
            {"name": "modelResultMetadata", "type": bundled_schema("result_metadata")},
        ],
    }


def check_result_schema(records: RecordSchema) -> None:
    """Raises SchemaError when the results of such records can have no schema: a type of theirs has a name of ours."""
    try:
        fastavro.parse_schema(result_schema(records))
    except fastavro.schema.SchemaParseException as error:
        raise SchemaError(
            f"record schema {records.name!r} does not fit into the schema of results: {error}; "
            "give its types a namespace of their own"
        ) from error


@dataclass(frozen=True)
class Origin:
    """Where the records of one batch came from."""

    topic: str
    partition: int


@dataclass(frozen=True)
class ResultEncoder:
    """Encodes the results of lists of records of one schema, in the format of the records."""

    schema: RecordSchema

    @cached_property
    def _header(self) -> bytes:
        return SingleObjectCodec(result_schema(self.schema)).header

    def encode(
        self,
        scoring: Scoring,
        origin: Origin,
        values: Sequence[bytes],
        offsets: Sequence[int],
        outputs: RecordOutputs | None,
    ) -> list[bytes]:
        """One result a record, in their order.

        Args:
          scoring: the call that scored them all.
          origin: the partition they came from.
          values: the records as they came, which are copied into the results as they are.
          offsets: of the records.
          outputs: None when there are none: the reason is `scoring.error`.

        Raises:
          Exception: whatever a value leads to that the format cannot hold; the record's neighbours can be encoded
            without it.
        """
        if self.schema.format == "json":
            return [
                self._json(scoring, origin, value, offset, {} if outputs is None else outputs.of(index))
                for index, (value, offset) in enumerate(zip(values, offsets, strict=True))
            ]
        before = self._header
        error = avro.encode_optional(scoring.error)
        after = _encode_shared_metadata(scoring, origin)
        encoded = [avro.END_OF_BLOCKS] * len(values) if outputs is None else _encode_outputs(outputs, len(values))
        return [
            b"".join((before, value, output, error, avro.encode_long(offset), after))
            for value, output, offset in zip(values, encoded, offsets, strict=True)
        ]

    @staticmethod
    def _json(scoring: Scoring, origin: Origin, value: bytes, offset: int, outputs: dict[str, Array]) -> bytes:
        model = scoring.model
        metadata = {
            "errors": scoring.error,
            "offset": offset,
            "partition": origin.partition,
            "topic": origin.topic,
            "modelName": model and model.name,
            "modelVersion": model and model.version,
            "modelType": model and model.model_type,
            "modelSourceLocation": model and model.location,
            "digest": model and model.digest,
            "descriptorOffset": model and model.descriptor_offset,
            "startTime": scoring.start,
            "duration": scoring.duration,
            "batchSize": scoring.batch_size,
        }
        result = {
            "inputRecord": json.loads(value),
            "outputs": {name: tensor_as_json(array) for name, array in outputs.items()},
            "modelResultMetadata": metadata,
        }
        return json.dumps(result, ensure_ascii=False, allow_nan=False).encode()


def _encode_shared_metadata(scoring: Scoring, origin: Origin) -> bytes:
    """The fields of ModelResultMetadata after `offset`, in the order of its schema."""
    model = scoring.model
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
            avro.encode_long(scoring.start),
            avro.encode_long(scoring.duration),
            avro.encode_long(scoring.batch_size),
        ]
    )


def _encode_outputs(outputs: RecordOutputs, count: int) -> list[bytes]:
    """The outputs map of each record."""
    columns: list[list[bytes]] = []
    for name, array in outputs.arrays.items():
        columns.append(_encode_column(avro.encode_string(name), array, outputs.bounds, count))
    opening = avro.encode_long(len(columns)) if columns else b""
    if len(columns) == 1:
        return [opening + entry + avro.END_OF_BLOCKS for entry in columns[0]]
    if not columns:
        return [avro.END_OF_BLOCKS] * count
    return [b"".join((opening, *entries, avro.END_OF_BLOCKS)) for entries in zip(*columns, strict=True)]


def _encode_column(name: bytes, array: Array, bounds: Any, count: int) -> list[bytes]:
    """One entry of the outputs map, for each record."""
    branch = avro.encode_long(_branch(array))
    tail = tuple(array.shape[1:])
    if bounds is None:
        starts: Iterable[int] = range(count)
        lengths: Iterable[int] = [1] * count
        openings = {1: name + _encode_shape(tail) + branch}
    else:
        starts = bounds[:-1].tolist()
        lengths = np.diff(bounds).tolist()
        openings = {length: name + _encode_shape((length, *tail)) + branch for length in set(lengths)}
    items = math.prod(tail)
    width = avro.item_width(array)
    if width is None:
        return [
            openings[length] + avro.encode_array(length * items, avro.encode_items(array[start : start + length]))
            for start, length in zip(starts, lengths, strict=True)
        ]
    flat, row = avro.encode_fixed_items(array), items * width
    return [
        openings[length] + avro.encode_array(length * items, flat[start * row : (start + length) * row])
        for start, length in zip(starts, lengths, strict=True)
    ]


def _encode_shape(shape: tuple[int, ...]) -> bytes:
    return avro.encode_array(len(shape), b"".join(map(avro.encode_long, shape)))


def _branch(array: Array) -> int:
    kind = array.dtype.kind
    if kind == "f":
        return _BRANCHES["f8" if array.dtype.itemsize >= 8 else "f4"]
    if kind in "iu":
        return _BRANCHES["i"]
    return _BRANCHES["b" if kind == "b" else "O"]


def tensor_as_json(array: Array) -> dict[str, Any]:
    """An output as JSON: its shape and its values; what is not finite is null, bytes that are no text are base64."""
    return {"shape": list(array.shape), "values": [_json_value(item) for item in array.ravel().tolist()]}


def _json_value(item: Any) -> Any:
    if isinstance(item, float) and not math.isfinite(item):
        return None
    if isinstance(item, bytes):
        try:
            return item.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(item).decode()}
    return item


@dataclass(frozen=True)
class ResultDecoder:
    """Reads results back, for consoles and tests."""

    schema: RecordSchema

    @cached_property
    def _codec(self) -> SingleObjectCodec:
        return SingleObjectCodec(result_schema(self.schema))

    def decode(self, message: bytes) -> dict[str, Any]:
        """A result as {inputRecord, outputs: {name: {shape, values}}, modelResultMetadata}.

        Raises:
          ValueError: when the message is no result of records of this schema.
        """
        if self.schema.format == "json":
            result: dict[str, Any] = json.loads(message)
            return result
        result = self._codec.decode(message)
        for tensor in result["outputs"].values():
            tensor["values"] = tensor["values"]["items"]
        metadata = result["modelResultMetadata"]
        metadata["startTime"] = round(metadata["startTime"].timestamp() * 1e6)
        return result


def result_as_json(result: dict[str, Any]) -> dict[str, Any]:
    """A decoded result with JSON's values only: what is not finite is null, bytes that are no text are base64."""
    return {name: _plain(value) for name, value in result.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return _json_value(value)
