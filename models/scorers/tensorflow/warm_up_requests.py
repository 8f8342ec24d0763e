"""The warm-up requests in a SavedModel, which TensorFlow Serving, too, runs before a model serves.

They are in the file `assets.extra/tf_serving_warmup_requests`, a TFRecord file of `tensorflow.serving.PredictionLog`.
A file with more than 1,000 records is refused, as by TensorFlow Serving. Requests other than Predict, and requests
for a signature other than the served one, are skipped, because no record could cause such a call.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorflow.core.framework import tensor_pb2

from models.errors import AdmissionError, ScoringError
from models.scorers.base import Scorer
from models.tensors import Array
from models.text import error_text

_LOGGER = logging.getLogger(__name__)

WARM_UP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
MOST_REQUESTS = 1_000

_DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class WarmUpRequest:
    """One request.

    Attributes:
      signature: the name of the signature to call.
      inputs: by name.
    """

    signature: str
    inputs: dict[str, Array]


def run_warm_up_requests(scorer: Scorer, model: Path) -> int:
    """Runs the requests of a model, if it has any, and returns how many there were for the scorer's signature.

    Args:
      scorer: the loaded model.
      model: the folder of the SavedModel.

    Raises:
      AdmissionError: when the file cannot be read or is too long, or the model cannot answer a request.
    """
    ran = skipped = 0
    for number, request in enumerate(read_warm_up_requests(model / WARM_UP_FILE), start=1):
        if request is None or request.signature != scorer.signature.name:
            skipped += 1
            continue
        try:
            scorer.score(request.inputs)
        except ScoringError as error:
            raise AdmissionError(
                f"warm-up request {number} of the model failed: {error} (option warmup=false skips it)"
            ) from error
        ran += 1
    if skipped:
        _LOGGER.info("%s: %d warm-up requests are not for signature %r", scorer.address, skipped, scorer.signature.name)
    return ran


def read_warm_up_requests(path: Path) -> Iterator[WarmUpRequest | None]:
    """Yields the Predict requests in a file, and None for each request of another kind; none if there is no file.

    Raises:
      AdmissionError: when the file cannot be read, or contains too many requests.
    """
    if not path.is_file():
        return
    records = enumerate(tf.data.TFRecordDataset(str(path)).as_numpy_iterator(), start=1)
    while True:
        try:
            number, content = next(records)
            request = _parsed(content)
        except StopIteration:
            return
        except Exception as error:  # protobuf and TensorFlow raise exceptions of their own
            raise AdmissionError(f"the file {WARM_UP_FILE} of the model cannot be read: {error_text(error)}") from error
        if number > MOST_REQUESTS:
            raise AdmissionError(f"the file {WARM_UP_FILE} of the model has more than {MOST_REQUESTS} requests")
        yield request


def _parsed(content: bytes) -> WarmUpRequest | None:
    log = _message("PredictionLog").FromString(content)
    if not log.HasField("predict_log"):
        return None
    request = log.predict_log.request
    inputs = {name: tf.make_ndarray(tensor_pb2.TensorProto.FromString(value)) for name, value in request.inputs.items()}
    return WarmUpRequest(request.model_spec.signature_name or _DEFAULT_SIGNATURE, inputs)


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{_PACKAGE}.{name}"))


_PACKAGE = "beam.serving.warmup"
_FIELD = descriptor_pb2.FieldDescriptorProto


@cache
def _pool() -> Any:
    """The parts of TensorFlow Serving's messages that are read here, by the same field numbers.

    The package tensorflow-serving-api has the messages themselves, but only deployments that call servers install it.
    The tensors are bytes, which look the same in a message as what they contain.
    """
    file = descriptor_pb2.FileDescriptorProto(name="warm_up_requests.proto", package=_PACKAGE, syntax="proto3")
    _add_message(file, "ModelSpec", ("signature_name", 3, _FIELD.TYPE_STRING))
    request = _add_message(file, "PredictRequest", ("model_spec", 1, "ModelSpec"))
    entry = request.nested_type.add(name="InputsEntry", options=descriptor_pb2.MessageOptions(map_entry=True))
    _add_field(entry, "key", 1, _FIELD.TYPE_STRING)
    _add_field(entry, "value", 2, _FIELD.TYPE_BYTES)
    _add_field(request, "inputs", 2, "PredictRequest.InputsEntry").label = _FIELD.LABEL_REPEATED
    _add_message(file, "PredictLog", ("request", 1, "PredictRequest"))
    _add_message(file, "PredictionLog", ("predict_log", 6, "PredictLog"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _add_message(file: Any, name: str, *fields: tuple[str, int, Any]) -> Any:
    message = file.message_type.add(name=name)
    for field in fields:
        _add_field(message, *field)
    return message


def _add_field(message: Any, name: str, number: int, kind: Any) -> Any:
    """Adds a field of a scalar type, or of the message of a name."""
    field = message.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
    if isinstance(kind, str):
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    else:
        field.type = kind
    return field
