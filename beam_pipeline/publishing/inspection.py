"""Describes a model to be published: its signature, how records fill its inputs, and a scored example."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from beam_pipeline.publishing.record_generators import GENERATORS
from models.columns.mapping import InputColumn
from models.loading.loader import INPUTS_FROM_OPTION, LoadedModel
from models.model_topic.descriptor import ModelDescriptor
from models.records.codecs.base import RecordCodec
from models.results.json_values import json_value
from models.tensors import Array, TensorSpec
from models.text import error_text, limit_text

_SHOWN_CHARACTERS = 140
_SEED = 0
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


@dataclass(frozen=True)
class Inspection:
    """The description of a model that was loaded for publishing.

    Attributes:
      descriptor: the descriptor of the model.
      signature: the name of the entry point that is called.
      inputs: each input with the record fields that fill it; no fields if no record type is known.
      outputs: the outputs by the names that results give them; None for one that the engine does not describe.
      example: a record and the outputs for it as JSON values, or the reason why there is none.
      size: the bytes of the published model; None for a model on a server.
      seconds: the time that it took to fetch, open, warm up and check the model.
      memory: the number of bytes by which the process grew meanwhile.
      baseline: sketches of the records of its baseline; None without a baseline.
    """

    descriptor: ModelDescriptor
    signature: str
    inputs: tuple[tuple[TensorSpec, tuple[str, ...]], ...]
    outputs: Mapping[str, TensorSpec | None]
    example: tuple[Any, Any] | str
    size: int | None
    seconds: float
    memory: int
    baseline: bytes | None = None

    def lines(self) -> Iterator[str]:
        """The inspection for people, a line for each thing."""
        yield f"type       {self.descriptor.model_type}, signature {self.signature}"
        for spec, fields in self.inputs:
            yield f"input      {described(spec)}{_filling(fields)}"
        for name, output in self.outputs.items():
            yield f"output     {name if output is None else described(output, name)}"
        if isinstance(self.example, str):
            yield f"example    none: {self.example}"
        else:
            record, outputs = self.example
            yield f"example    {_shown(record)}"
            yield f"           -> {_shown(outputs)}"
        size = "on a server" if self.size is None else bytes_for_people(self.size)
        yield f"size       {size}, {bytes_for_people(self.memory)} of memory, loaded in {self.seconds:.2f} s"
        if self.baseline is not None:
            yield f"baseline   {bytes_for_people(len(self.baseline))} of sketches"


def inspect(model: LoadedModel, codec: RecordCodec | None, seconds: float) -> Inspection:
    """Describes a loaded model, and scores an example if the codec of its records is known.

    The example is the first golden sample if there is one, otherwise a record of the generator for a bundled schema,
    otherwise a record of zeros and empty texts.

    Args:
      model: the model.
      codec: the codec of the records that it will score.
      seconds: the time that loading it took.
    """
    descriptor, signature = model.version.descriptor, model.scorer.signature
    inputs = tuple((spec, tuple(descriptor.inputs.get(name, ()))) for name, spec in signature.inputs.items())
    example: tuple[Any, Any] | str = "the schema of the records is not known"
    if INPUTS_FROM_OPTION in descriptor.options:
        example = "steps of a graph fill its inputs"
    elif codec is not None:
        inputs = tuple(_filled(column) for column in model.plan({}, codec).columns)
        example = _example(model, codec)
    wanted = descriptor.outputs or {name: name for name in signature.outputs}
    return Inspection(
        descriptor,
        signature.name,
        inputs,
        {name: signature.outputs.get(source) for name, source in wanted.items()},
        example,
        None if model.scorer.digest is None else model.published_bytes,
        seconds,
        model.memory,
    )


def described(spec: TensorSpec, name: str | None = None) -> str:
    """The name, dtype and shape of an input or output; a question mark is a dimension of any size.

    >>> import numpy as np
    >>> described(TensorSpec("x", np.dtype("float32"), (None, 11)))
    'x float32 [?, 11]'
    >>> described(TensorSpec("x", np.dtype(object), None), "text")
    'text string of any shape'
    """
    dtype = "string" if spec.dtype == object else str(spec.dtype)
    if spec.shape is None:
        return f"{name or spec.name} {dtype} of any shape"
    sizes = ", ".join("?" if size is None else str(size) for size in spec.shape)
    return f"{name or spec.name} {dtype} [{sizes}]"


def bytes_for_people(count: int) -> str:
    """A number of bytes in the unit that suits it, in powers of 1,000.

    >>> [bytes_for_people(count) for count in (512, 40_960, 1_250_000)]
    ['512 bytes', '41.0 kB', '1.2 MB']
    """
    for size, unit in _UNITS:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _filled(column: InputColumn) -> tuple[TensorSpec, tuple[str, ...]]:
    return column.spec, (f"each item of {column.fields[0]}",) if column.kind == "items" else column.fields


def _filling(fields: tuple[str, ...]) -> str:
    return f" <- {limit_text(', '.join(fields), _SHOWN_CHARACTERS)}" if fields else ""


def _example(model: LoadedModel, codec: RecordCodec) -> tuple[Any, Any] | str:
    try:
        row = _example_row(model.version.descriptor, codec)
        outputs, _ = model.score(codec, codec.columns_of(row))
    except Exception as error:  # the model is admitted; an unsuitable example is no reason to refuse it
        return error_text(error)
    return row, {name: _value(array) for name, array in outputs.of(0).items()}


def _example_row(descriptor: ModelDescriptor, codec: RecordCodec) -> dict[str, Any]:
    if descriptor.golden is not None:
        return dict(descriptor.golden.samples[0].row())
    if codec.name in GENERATORS:
        row = dict(next(GENERATORS[codec.name].records(_SEED)).row)
        if row.keys() >= set(codec.fields.names):
            return row
    return {field.name: _zero(field.type) for field in codec.fields}


def _zero(kind: pa.DataType) -> Any:
    """Zero, an empty text, a list of one zero, or a struct of zeros."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [_zero(kind.value_type)]
    if pa.types.is_struct(kind):
        return {field.name: _zero(field.type) for field in kind}
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return ""
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return b""
    if pa.types.is_boolean(kind):
        return False
    return 0.0 if pa.types.is_floating(kind) else 0


def _value(array: Array) -> Any:
    return _json(array.tolist())


def _json(value: Any) -> Any:
    return [_json(one) for one in value] if isinstance(value, list) else json_value(value)


def _shown(value: Any) -> str:
    return limit_text(json.dumps(value, ensure_ascii=False, default=json_value), _SHOWN_CHARACTERS)
