"""Calls of servers of the Open Inference protocol within a trace: what the server gets, and what the span says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from open_inference.grpc import protocol
from opentelemetry.trace import StatusCode

from models.scorers import load_scorer
from models.scorers.base import Scorer
from models.scorers.servers.remote_calls import RemoteCallError
from models.tensors import Array
from tests.models.scorers.servers.open_inference_fake import Answers, RestAnswers, grpc_server, json_answer, rest_server
from tests.models.scorers.servers.tensorflow_serving_replica import source
from tests.models.scorers.servers.traced_batch import TracedBatch

X: Mapping[str, Array] = {"x": np.array([1, 2], np.float32)}
METADATA = {"name": "m", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}], "outputs": []}


def over_grpc(address: str) -> Scorer:
    return load_scorer(source(f"grpc://{address}/m", "open-inference-grpc", options={"header.seldon": "wine"}))


def over_rest(address: str) -> Scorer:
    options = {"header.seldon": "wine"}
    return load_scorer(source(f"http://{address}/v2/models/m", "open-inference-rest", options=options))


def answer() -> Any:
    made = protocol.ModelInferResponse(model_name="m")
    made.outputs.add(name="y", datatype="FP32", shape=[2]).contents.fp32_contents.extend([1, 2])
    return made


def test_a_call_over_grpc_continues_the_trace() -> None:
    traced, answers = TracedBatch(), Answers(answer())
    with grpc_server(answers) as address:
        scorer = over_grpc(address)
        with traced.scoring():
            scorer.score(X)
        scorer.score(X)
        scorer.close()
    (span,) = traced.spans()
    assert span.name == (span.attributes or {})["rpc.method"] == "inference.GRPCInferenceService/ModelInfer"
    traced.check_told(answers.metadata[0], span)
    assert answers.metadata[0]["seldon"] == "wine"
    assert "traceparent" not in answers.metadata[1]


def test_a_failed_call_over_grpc_has_a_span_with_the_status() -> None:
    traced, answers = TracedBatch(), Answers(error="no luck")
    with grpc_server(answers) as address:
        scorer = over_grpc(address)
        with traced.scoring(), pytest.raises(RemoteCallError, match="no luck"):
            scorer.score(X)
        scorer.close()
    (span,) = traced.spans()
    assert span.status.status_code == StatusCode.ERROR and "no luck" in (span.status.description or "")
    assert (span.attributes or {})["rpc.response.status_code"] == "INTERNAL"


@pytest.mark.parametrize("status", [200, 400])
def test_a_call_over_rest_continues_the_trace(status: int) -> None:
    traced = TracedBatch()
    outputs = [{"name": "y", "datatype": "FP32", "shape": [2], "data": [1, 2]}]
    answered = json_answer({"model_name": "m", "outputs": outputs}) if status == 200 else (400, {}, b"no luck")
    answers = RestAnswers({"/infer": answered, "/ready": json_answer({}), "/m": json_answer(METADATA)})
    with rest_server(answers) as address:
        scorer = over_rest(address)
        before = len(answers.requests)
        with traced.scoring():
            if status == 200:
                scorer.score(X)
            else:
                with pytest.raises(RemoteCallError, match="no luck"):
                    scorer.score(X)
        scorer.close()
    (span,) = traced.spans()
    attributes = dict(span.attributes or {})
    assert span.name == "POST /v2/models/m/infer"
    assert attributes["http.request.method"] == "POST" and attributes["http.response.status_code"] == status
    assert attributes["url.full"] == f"http://{address}/v2/models/m/infer"
    assert f"{attributes['server.address']}:{attributes['server.port']}" == address
    assert (span.status.status_code == StatusCode.ERROR) == (status == 400)
    assert all("traceparent" not in headers for _, headers, _ in answers.requests[:before])
    traced.check_told(answers.requests[before][1], span)
