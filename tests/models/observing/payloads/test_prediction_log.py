"""Payloads as messages of TensorFlow Serving, read with TensorFlow's own functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.observing.answered import AnsweredBatch
from models.observing.observation import Observation
from models.observing.payloads.payload import Payload
from models.observing.payloads.prediction_log import prediction_log
from models.observing.totals import Totals
from models.serving.assembly import ScoringSettings, score_batch
from models.tensors import Array
from tests.models.fakes import batch_of
from tests.models.observing.payloads.answers import answered, every, record
from tests.models.serving.graphs.graph_serving import RECORD, GraphServing
from tests.models.serving.graphs.graph_serving import record as graph_record


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


SUM = """
steps:
  - {name: one, model: one, version: 1}
  - {name: two, model: two, version: 1, inputs: {x: [y]}}
  - {name: total, combine: mean, of: [one, two], output: total}
output: total
"""


class Taken:
    """Keeps the payloads of all records."""

    def __init__(self) -> None:
        self.payloads: list[Payload] = []

    def answered(self, answered: AnsweredBatch) -> None:
        self.payloads += every(answered)

    def close(self) -> None:
        """Nothing to end."""


def test_a_graph_is_fed_the_fields_of_the_record() -> None:
    def double(x: Any) -> Mapping[str, Array]:
        return {"out": 2 * x}

    serving, taken = GraphServing(SUM, one=double, two=double), Taken()
    batch = batch_of([RECORD.codec.encode(graph_record(1.0, y=3.0))])
    settings = ScoringSettings({"records": RECORD}, "results", "letters")
    score_batch(batch, serving.registry, settings, observer=Observation(Totals(), (), [taken]))
    (payload,) = taken.payloads
    log = prediction_log(payload, 1)
    assert log is not None
    spec = log.session_run_log.request.model_spec
    assert (spec.name, spec.HasField("version")) == ("loan", False)
    fed = {one.name: tf.make_ndarray(one.tensor).tolist() for one in log.session_run_log.request.feed}
    assert (fed["x"], fed["y"]) == ([1.0], [3.0])
    (output,) = log.session_run_log.response.tensor
    assert (output.name, tf.make_ndarray(output.tensor).ravel().tolist()) == ("total", [4.0])
