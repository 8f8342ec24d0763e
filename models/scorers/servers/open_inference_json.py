"""The bodies of the Open Inference protocol (V2) over REST: JSON, followed by tensors in binary form if possible."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from models.scorers.servers.open_inference import Inference
from models.scorers.servers.open_inference_tensors import (
    datatype_dtype,
    datatype_name,
    object_array,
    raw_array,
    raw_content,
    shaped,
    tensor_spec,
)
from models.tensors import Array, TensorSpec

HEADER_LENGTH = "inference-header-content-length"
"""The HTTP header with the size of the JSON that precedes tensors in binary form."""

# The kinds of JSON numbers that each kind of dtype accepts: numpy would silently turn 1.5 into 1, and "1" into 1.
# Floats may also be null, which is what servers send for NaN.
_KINDS = {"b": "b", "i": "iu", "u": "iu", "f": "iufO"}


@dataclass(frozen=True)
class InferenceBody:
    """The body of a call, and the headers that belong to it."""

    content: bytes
    headers: Mapping[str, str]


def inference_body(
    inputs: Mapping[str, Array], outputs: tuple[str, ...], request_id: str, *, binary: bool
) -> InferenceBody:
    """The body of a call.

    Args:
      inputs: arrays by name.
      outputs: the names of the outputs to request; empty for all.
      request_id: the id of the call.
      binary: whether tensors are sent in binary form, in both directions.

    Raises:
      TypeError: the protocol lacks the type of an input, or a string is not bytes.
      ValueError: JSON cannot express a value. Both errors name the input.
    """
    content: dict[str, Any] = {"id": request_id, "inputs": []}
    if outputs:
        content["outputs"] = [{"name": name} for name in outputs]
    raw: list[bytes] = []
    for name, array in inputs.items():
        try:
            tensor: dict[str, Any] = {"name": name, "datatype": datatype_name(array.dtype), "shape": list(array.shape)}
            if binary:
                raw.append(raw_content(array))
                tensor["parameters"] = {"binary_data_size": len(raw[-1])}
            else:
                tensor["data"] = _json_values(array)
        except (TypeError, ValueError) as error:
            raise type(error)(f"input {name!r}: {error}") from error
        content["inputs"].append(tensor)
    if not binary:
        return InferenceBody(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), {})
    content["parameters"] = {"binary_data_output": True}
    head = orjson.dumps(content)
    headers = {HEADER_LENGTH: str(len(head)), "content-type": "application/octet-stream"}
    return InferenceBody(b"".join((head, *raw)), headers)


def inference_answer(content: bytes, header_length: str | None) -> Inference:
    """The answer in a body.

    Args:
      content: the body.
      header_length: the value of the header `HEADER_LENGTH`; None if there is none.

    Raises:
      KeyError, TypeError, ValueError, OverflowError: the answer contradicts the protocol or itself.
    """
    size = len(content) if header_length is None else int(header_length)
    if not 0 <= size <= len(content):
        raise ValueError(f"the header {HEADER_LENGTH} is {size}, but the body has {len(content)} bytes")
    answer = json_object(content[:size])
    rest = memoryview(content)[size:]
    outputs: dict[str, Array] = {}
    for tensor in answer["outputs"]:
        name, dtype, shape = str(tensor["name"]), datatype_dtype(tensor["datatype"]), _shape(tensor["shape"])
        parameters = tensor.get("parameters")
        length = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if length is None:
            outputs[name] = _json_array(tensor["data"], dtype, shape)
            continue
        if type(length) is not int or not 0 <= length <= len(rest):
            raise ValueError(f"output {name!r} has {length!r} bytes, but only {len(rest)} were received")
        outputs[name], rest = raw_array(rest[:length], dtype, shape), rest[length:]
    if rest:
        raise ValueError(f"{len(rest)} bytes follow the last output")
    return Inference(outputs, str(answer.get("model_version") or ""))


def metadata_tensors(described: Mapping[str, Any], part: str, address: str) -> dict[str, TensorSpec]:
    """The inputs or outputs in the metadata of a model, by name.

    Raises:
      ModelLoadError: a type or shape is not supported.
      KeyError, TypeError: the metadata do not follow the protocol.
    """
    found = described.get(part) or []
    return {
        str(one["name"]): tensor_spec(str(one["name"]), one["datatype"], list(one.get("shape") or []), address)
        for one in found
    }


def json_object(content: bytes) -> dict[str, Any]:
    """The JSON object in a body, in which NaN and infinity may be numbers, as Python's json and Triton write them.

    Raises:
      ValueError: the body is not a JSON object.
    """
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        try:
            value = json.loads(content)
        except RecursionError:
            raise ValueError("the body is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("the body is not a JSON object")
    return value


def _json_values(array: Array) -> Any:
    flat = array.ravel()
    if array.dtype.kind == "O":
        return [_text(value) for value in flat.tolist()]
    if array.dtype.kind == "f" and not np.isfinite(flat).all():
        raise ValueError("JSON has no NaN and no infinity; open-inference-grpc can send them")
    # Not every version of orjson knows float16; its values are the same in float32.
    dtype = np.dtype(np.float32) if array.dtype == np.float16 else array.dtype.newbyteorder("=")
    return np.ascontiguousarray(flat, dtype)


def _text(value: Any) -> str:
    if not isinstance(value, bytes):
        raise TypeError(f"{value!r} is not bytes")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ValueError("a string is not UTF-8, which JSON cannot express; open-inference-grpc can send it") from None


def _json_array(data: Any, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
    if not isinstance(data, list):
        raise TypeError(f"the data of an output are {type(data).__name__}, not a list")
    if dtype.kind == "O":
        return object_array([_bytes(value) for value in _flat(data)], shape)
    if data and not _is_of_kind(data, dtype):
        raise TypeError(f"the data of an output of type {datatype_name(dtype)} are not of this type")
    return shaped(np.array(data, dtype).ravel(), shape)


def _is_of_kind(data: list[Any], dtype: np.dtype[np.generic]) -> bool:
    if dtype == np.uint64:  # numpy would convert a mix of small and large numbers to floats
        return all(type(value) is int for value in _flat(data))
    return np.array(data).dtype.kind in _KINDS[dtype.kind]


def _flat(data: list[Any]) -> list[Any]:
    """The values of lists in lists, without recursion, because an answer may nest them deeply."""
    while any(isinstance(one, list) for one in data):
        if not all(isinstance(one, list) for one in data):
            raise TypeError("lists and values are mixed")
        data = [inner for outer in data for inner in outer]
    return data


def _bytes(value: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value.encode()


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(size) is int for size in value):
        raise TypeError(f"{value!r} is not a shape")
    return tuple(value)
