"""Arrays in TensorFlow's messages, as TensorFlow Serving takes and gives them. Imports TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from models.tensors import DTYPES, Array

_TYPE_NUMBERS = {dtype: types_pb2.DataType.Value(name) for name, dtype in DTYPES.items()}


def fill_tensor(tensor: Any, array: Array) -> None:
    """Writes an array into an empty TensorProto: numbers as raw bytes, strings (dtype object) one by one.

    For 500 x 11 floats this takes 3 us instead of the 15 us of `tf.make_tensor_proto`; for as many strings, 0.1 ms
    instead of 1.6 ms.

    Raises:
      KeyError: TensorFlow has no such dtype.
      TypeError: an item of dtype object is not bytes.
    """
    dtype = array.dtype.newbyteorder("=")
    tensor.dtype = _TYPE_NUMBERS[dtype]
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if dtype.kind == "O":
        tensor.string_val.extend(array.ravel().tolist())
    else:
        tensor.tensor_content = array.astype(dtype, copy=False).tobytes()


def tensor_array(tensor: tensor_pb2.TensorProto) -> Array:
    """The array in a TensorProto; an array of numbers may be a read-only view of the message.

    Raises:
      KeyError: numpy has no such dtype.
      TypeError, ValueError: the message contradicts itself.
    """
    if not tensor.tensor_content:
        # By default TensorFlow Serving sends a list of values, which may omit repetitions of the last one.
        array: Array = tf.make_ndarray(tensor)
        return array
    dtype = DTYPES[types_pb2.DataType.Name(tensor.dtype)]
    return np.frombuffer(tensor.tensor_content, dtype).reshape([dim.size for dim in tensor.tensor_shape.dim])
