"""Payloads as `tensorflow.serving.PredictionLog`, the log of TensorFlow Serving.

What a model got and gave by a signature is a PredictLog, which TensorFlow Serving's warm-up and tfx-bsl take. Where no
signature was called, as in a graph, it is a SessionRunLog: it is fed the fields of the record.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tensorflow_serving.apis import prediction_log_pb2

from models.observing.payloads.payload import Payload
from models.tensor_protos import fill_tensor
from models.tensors import Array


def prediction_log(payload: Payload, share: float) -> prediction_log_pb2.PredictionLog | None:
    """A payload as a message; None for one without outputs or without a model, which the message has no place for.

    The inputs have one row, or one for each item of an array field; the outputs have the names that results have.
    `log_metadata.request_origin` contains the coordinates of the record, TOPIC-PARTITION-OFFSET.

    Args:
      payload: the request and its answer.
      share: the share of records that is logged.

    Raises:
      KeyError: TensorFlow has no such dtype as an input or output.
    """
    if payload.outputs is None or payload.call.model is None:
        return None
    log = prediction_log_pb2.PredictionLog()
    metadata = log.log_metadata
    _fill_spec(metadata.model_spec, payload)
    metadata.sampling_config.sampling_rate = share
    metadata.timestamp_secs = payload.call.start // 1_000_000
    metadata.request_origin = payload.coordinates
    if payload.inputs.signature is None:
        _fill_session_run(log.session_run_log, payload)
    else:
        _fill_predict(log.predict_log, payload)
    return log


def _fill_spec(spec: Any, payload: Payload) -> None:
    model = payload.call.model
    assert model is not None
    spec.name = model.name
    if model.version is not None:
        spec.version.value = model.version
    spec.signature_name = payload.inputs.signature or ""


def _fill_predict(log: Any, payload: Payload) -> None:
    _fill_spec(log.request.model_spec, payload)
    _fill_spec(log.response.model_spec, payload)
    for name, array in payload.inputs.arrays.items():
        fill_tensor(log.request.inputs[name], _encodable(array))
    for name, array in (payload.outputs or {}).items():
        fill_tensor(log.response.outputs[name], _encodable(array))


def _fill_session_run(log: Any, payload: Payload) -> None:
    _fill_spec(log.request.model_spec, payload)
    _fill_spec(log.response.model_spec, payload)
    for name, array in payload.inputs.arrays.items():
        fill_tensor(log.request.feed.add(name=name).tensor, _encodable(array))
    for name, array in (payload.outputs or {}).items():
        log.request.fetch.append(name)
        fill_tensor(log.response.tensor.add(name=name).tensor, _encodable(array))


def _encodable(array: Array) -> Array:
    """The array with texts as bytes."""
    if array.dtype.kind not in "SOU":
        return array
    texts = [one.encode() if isinstance(one, str) else one for one in array.ravel().tolist()]
    encoded = np.empty(array.size, object)
    encoded[:] = texts
    return encoded.reshape(array.shape)
