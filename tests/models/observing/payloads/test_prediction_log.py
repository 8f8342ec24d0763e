"""Payloads as messages of TensorFlow Serving, read with TensorFlow's own functions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from models.observing.payloads.prediction_log import prediction_log
from models.tensors import Array
from tests.models.observing.payloads.answers import answered, every, record


def test_what_a_signature_got_and_gave_is_a_predict_log() -> None:
    (payload,) = every(answered([record(0.25, 2)], start=10))
    log = prediction_log(payload, 0.1)
    assert log is not None
    request, response = log.predict_log.request, log.predict_log.response
    for spec in (request.model_spec, response.model_spec, log.log_metadata.model_spec):
        assert (spec.name, spec.version.value, spec.signature_name) == ("m", 3, "predict")
    tensor = tf.make_ndarray(request.inputs["v"])
    assert (tensor.dtype, tensor.tolist()) == (np.float32, [[0.25, 2]])
    assert tf.make_ndarray(response.outputs["scores"]).tolist() == [[0.25, 0.75]]
    assert tf.make_ndarray(response.outputs["label"]).tolist() == [b"low"]
    metadata = log.log_metadata
    assert metadata.sampling_config.sampling_rate == pytest.approx(0.1)
    assert metadata.timestamp_secs == payload.call.start // 10**6
    assert metadata.request_origin == "records-3-10"


def test_where_no_signature_was_called_it_is_the_log_of_a_session() -> None:
    batch = answered([record(0.25, 2, "é")])
    (payload,) = every(replace(batch, scored=[replace(part, mapping=None) for part in batch.scored]))
    log = prediction_log(payload, 1)
    assert log is not None and log.WhichOneof("log_type") == "session_run_log"
    fed = {one.name: tf.make_ndarray(one.tensor).tolist() for one in log.session_run_log.request.feed}
    assert fed == {"x": [0.25], "y": [2], "label": ["é".encode()], "dataType": [b"m"]}
    given = {one.name: tf.make_ndarray(one.tensor).tolist() for one in log.session_run_log.response.tensor}
    assert given == {"scores": [[0.25, 0.75]], "label": [b"low"]}
    assert list(log.session_run_log.request.fetch) == list(given)


def test_a_record_without_an_answer_has_no_message() -> None:
    (failed,) = every(answered([record(-1)]))
    assert prediction_log(failed, 1) is None


@pytest.mark.parametrize(
    "texts",
    [np.array(["é", "ab"]), np.array([b"a", b"b"]), np.array(["é", b"b\x00"], object), np.array([["a"], ["b"]])],
    ids=["unicode", "bytes", "objects", "matrix"],
)
def test_texts_of_any_kind_are_bytes(texts: Array) -> None:
    (payload,) = every(answered([record()]))
    log = prediction_log(replace(payload, outputs={"text": texts}), 1)
    assert log is not None
    read = tf.make_ndarray(log.predict_log.response.outputs["text"])
    assert read.shape == texts.shape
    assert read.ravel().tolist() == [one if isinstance(one, bytes) else one.encode() for one in texts.ravel().tolist()]
