"""Warm-up requests, written with TensorFlow Serving's own messages, which the application does not need."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, predict_pb2, prediction_log_pb2

from models.artifacts.archive import zip_folder
from models.artifacts.local_opener import LocalOpener
from models.errors import AdmissionError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers.base import ModelSource, Scores
from models.scorers.tensorflow.saved_model import load
from models.scorers.tensorflow.warm_up_requests import (
    MOST_REQUESTS,
    WARM_UP_FILE,
    read_warm_up_requests,
    run_warm_up_requests,
)
from models.tensors import Signature
from tests.models.fakes import FakeScorer
from tests.saved_models import save_failing_model


def predict_log(signature: str = "", **inputs: Any) -> bytes:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "another name"
    request.model_spec.signature_name = signature
    request.output_filter.append("root")
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    log.log_metadata.model_spec.name = "anything"
    written: bytes = log.SerializeToString()
    return written


def classify_log() -> bytes:
    request = classification_pb2.ClassificationRequest()
    log = prediction_log_pb2.PredictionLog(classify_log=prediction_log_pb2.ClassifyLog(request=request))
    written: bytes = log.SerializeToString()
    return written


def write_requests(model: Path, requests: Iterable[bytes]) -> Path:
    path = model / WARM_UP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            writer.write(request)
    return path


class Listener(FakeScorer):
    """Records its requests."""

    def __init__(self, signature: str) -> None:
        super().__init__(1)
        self.signature = Signature(signature, self.signature.inputs)
        self.asked: list[list[float]] = []

    def score(self, inputs: Any) -> Scores:
        self.asked.append(inputs["x"].tolist())
        return super().score(inputs)


@pytest.mark.parametrize("values", [np.array([[1.5, -2.0]], np.float32), np.array([3, 4], np.int64), np.array([True])])
def test_tensors_are_read_as_tensorflow_serving_wrote_them(tmp_path: Path, values: Any) -> None:
    path = write_requests(tmp_path, [predict_log("sign", a=values, b=np.array([b"\xff\0", b""], object))])
    (request,) = read_warm_up_requests(path)
    assert request is not None
    assert request.signature == "sign"
    assert request.inputs["a"].dtype == values.dtype
    assert request.inputs["a"].tolist() == values.tolist()
    assert request.inputs["b"].tolist() == [b"\xff\0", b""]


def test_requests_of_the_served_signature_are_run_in_order_and_others_are_skipped(tmp_path: Path) -> None:
    requests = [
        predict_log("serving_default", x=[1.0]),
        classify_log(),
        predict_log(x=[2.0]),
        predict_log("s", x=[3.0]),
    ]
    write_requests(tmp_path, requests)
    default, other = Listener("serving_default"), Listener("s")
    assert run_warm_up_requests(default, tmp_path) == 2
    assert default.asked == [[1.0], [2.0]]
    assert run_warm_up_requests(other, tmp_path) == 1
    assert other.asked == [[3.0]]


def test_a_model_without_requests_is_not_asked(tmp_path: Path) -> None:
    assert run_warm_up_requests(Listener("s"), tmp_path) == 0


def test_as_many_requests_as_tensorflow_serving_allows_are_run_and_not_one_more(tmp_path: Path) -> None:
    write_requests(tmp_path, [predict_log(x=[1.0])] * MOST_REQUESTS)
    assert run_warm_up_requests(Listener("serving_default"), tmp_path) == 1_000
    write_requests(tmp_path, [predict_log(x=[1.0])] * (MOST_REQUESTS + 1))
    with pytest.raises(AdmissionError, match="more than 1000 requests"):
        run_warm_up_requests(Listener("serving_default"), tmp_path)


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content[:20] + b"!" + content[21:]])
def test_a_file_that_is_damaged_is_refused(tmp_path: Path, change: Any) -> None:
    path = write_requests(tmp_path, [predict_log(x=[1.0])])
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(AdmissionError, match="tf_serving_warmup_requests of the model cannot be read"):
        run_warm_up_requests(Listener("serving_default"), tmp_path)


def test_a_record_that_is_no_request_is_refused(tmp_path: Path) -> None:
    write_requests(tmp_path, [b"\xff\xff\xff"])
    with pytest.raises(AdmissionError, match="cannot be read"):
        run_warm_up_requests(Listener("serving_default"), tmp_path)


# --- With a real model.


def source(folder: Path, inline: bool, warm_up: bool = True) -> ModelSource:
    location = None if inline else str(folder)
    descriptor = ModelDescriptor("m", "tensorflow-saved-model", 3, model_source_location=location)
    return ModelSource(descriptor, zip_folder(folder) if inline else None, LocalOpener(), warm_up)


@pytest.mark.parametrize("inline", [True, False])
def test_a_model_that_cannot_answer_its_own_requests_is_refused(tmp_path: Path, inline: bool) -> None:
    folder = save_failing_model(tmp_path / "model")
    write_requests(folder, [predict_log(x=np.array([4.0], np.float32))])
    load(source(folder, inline)).close()
    write_requests(folder, [predict_log(x=np.array([value], np.float32)) for value in (4.0, -1.0)])
    with pytest.raises(AdmissionError, match=r"'m' version 3: warm-up request 2 of the model failed: .*x is below 0"):
        load(source(folder, inline))
    load(source(folder, inline, warm_up=False)).close()


def test_a_request_with_inputs_that_the_signature_does_not_have_is_refused(tmp_path: Path) -> None:
    folder = save_failing_model(tmp_path / "model")
    write_requests(folder, [predict_log(y=np.array([4.0], np.float32))])
    with pytest.raises(AdmissionError, match="the inputs are y, but the signature takes x"):
        load(source(folder, inline=False))
