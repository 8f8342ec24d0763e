"""Tensors of the Open Inference protocol (V2): its datatypes, and its binary form, which gRPC and REST share.

Numbers are little-endian and in row-major order. Each string (datatype BYTES) follows its length in four bytes.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from models.errors import ModelLoadError
from models.tensors import Array, TensorSpec

# Numpy dtypes by the protocol's names; strings are arrays of bytes. Numpy has no BF16.
DATATYPES: Mapping[str, np.dtype[np.generic]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(object),
}

_NAMES = {dtype: name for name, dtype in DATATYPES.items()}
_LENGTH = struct.Struct("<I")


def datatype_name(dtype: np.dtype[np.generic]) -> str:
    """The protocol's name for a numpy dtype.

    Raises:
      TypeError: the protocol has no such datatype.

    >>> datatype_name(np.dtype(">f4")), datatype_name(np.dtype(object))
    ('FP32', 'BYTES')
    """
    name = _NAMES.get(dtype) or _NAMES.get(dtype.newbyteorder("="))
    if name is None:
        raise TypeError(f"the protocol has no datatype for {dtype}")
    return name


def datatype_dtype(name: object) -> np.dtype[np.generic]:
    """The numpy dtype of the protocol's datatype `name`.

    Raises:
      TypeError: numpy has no such dtype.
    """
    if not isinstance(name, str) or name not in DATATYPES:
        raise TypeError(f"datatype {name!r} is not supported")
    return DATATYPES[name]


def tensor_spec(name: str, datatype: object, shape: Sequence[object], address: str) -> TensorSpec:
    """The spec of an input or output that the server's metadata describe.

    Args:
      name: the name of the tensor.
      datatype: the protocol's name for its type.
      shape: its sizes, where -1 stands for any size; empty if the server does not state them.
      address: the address of the model, for errors.

    Raises:
      ModelLoadError: the type is not supported, or the first size is fixed.
    """
    try:
        dtype = datatype_dtype(datatype)
    except TypeError as error:
        raise ModelLoadError(f"{address}: {name!r}: {error}") from error
    if not all(isinstance(size, int) for size in shape):
        raise ModelLoadError(f"{address}: {name!r}: the metadata have the shape {shape!r}, which is not one of numbers")
    if not shape:
        return TensorSpec(name, dtype, None)
    sizes = tuple(size if isinstance(size, int) and size >= 0 else None for size in shape)
    if sizes[0] is not None:
        raise ModelLoadError(
            f"{address}: {name!r} has the shape {list(shape)} in the server's metadata, but the first size must be -1, "
            "for any number of rows; correct the metadata on the server, or set the option metadata=ignore"
        )
    return TensorSpec(name, dtype, sizes)


def raw_content(array: Array) -> bytes:
    r"""The binary form of an array.

    Raises:
      TypeError: an item of dtype object is not bytes.

    >>> raw_content(np.array([1, 256], np.int16))
    b'\x01\x00\x00\x01'
    >>> raw_content(np.array([b"ab"], object))
    b'\x02\x00\x00\x00ab'
    """
    if array.dtype.kind != "O":
        little = _little_endian(array.dtype)
        return (array if array.dtype == little else array.astype(little)).tobytes()
    parts: list[bytes] = []
    for value in array.ravel().tolist():
        if not isinstance(value, bytes):
            raise TypeError(f"{value!r} is not bytes")
        parts += (_LENGTH.pack(len(value)), value)
    return b"".join(parts)


def raw_array(content: bytes | memoryview, dtype: np.dtype[np.generic], shape: Sequence[int]) -> Array:
    """The array of a binary form; an array of numbers is a read-only view of it.

    Raises:
      ValueError: the size of the content does not fit the shape.
    """
    if dtype.kind == "O":
        return object_array(_raw_strings(bytes(content)), shape)
    return shaped(np.frombuffer(content, _little_endian(dtype)), shape)


def object_array(values: list[bytes], shape: Sequence[int]) -> Array:
    """An array of bytes; raises ValueError when the shape has a different number of items."""
    array = np.empty(len(values), object)
    array[:] = values
    return shaped(array, shape)


def shaped(values: Array, shape: Sequence[int]) -> Array:
    """The values in this shape.

    Raises:
      ValueError: the shape has a different number of items.
    """
    sizes = tuple(shape)
    if sizes == values.shape:  # as usual for one dimension
        return values
    # numpy would replace a size of -1, but an answer must not contain one.
    if any(size < 0 for size in sizes):
        raise ValueError(f"shape {list(sizes)} has a size below 0")
    return values.reshape(sizes)


def conformed(array: Array, spec: TensorSpec) -> Array:
    """An output in the shape of its signature: a last dimension of size 1 may be missing or superfluous in an answer.

    MLServer, for instance, answers with texts of shape [n, 1] where a model's metadata have [-1].

    Raises:
      ValueError: the answer has another type or shape.

    >>> conformed(np.zeros((3, 1)), TensorSpec("y", np.dtype(np.float64), (None,))).shape
    (3,)
    """
    same_type = spec.dtype == array.dtype or spec.dtype == array.dtype.newbyteorder("=")
    if same_type and (spec.shape is None or (spec.shape[:1] == (None,) and _same_rows(array.shape, spec.shape))):
        return array
    if same_type and spec.shape is not None and array.ndim:
        for shape in (array.shape, (*array.shape, 1), array.shape[:-1] if array.shape[-1] == 1 else ()):
            if len(shape) == len(spec.shape) and _fits(shape, spec.shape):
                return array.reshape(shape)
    wanted = "any shape" if spec.shape is None else str([-1 if size is None else size for size in spec.shape])
    raise ValueError(
        f"{datatype_name(array.dtype)} of shape {list(array.shape)} is not {datatype_name(spec.dtype)} of {wanted}, as "
        "in the server's metadata; correct the metadata on the server, or set the option metadata=ignore"
    )


def _same_rows(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and shape[1:] == wanted[1:]


def _fits(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return all(size in (None, actual) for actual, size in zip(shape, wanted, strict=True))


def _little_endian(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """The dtype in the byte order of the binary form; the same object if it has that order."""
    return dtype if dtype.isnative and sys.byteorder == "little" else dtype.newbyteorder("<")


def _raw_strings(content: bytes) -> list[bytes]:
    values: list[bytes] = []
    position = 0
    while position < len(content):
        start = position + _LENGTH.size
        if start > len(content):
            raise ValueError(f"the content ends within the length of string {len(values)}")
        position = start + _LENGTH.unpack_from(content, start - _LENGTH.size)[0]
        if position > len(content):
            raise ValueError(f"the content ends within string {len(values)}")
        values.append(content[start:position])
    return values
