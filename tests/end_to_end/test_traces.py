"""Traces of records through a pipeline to a model server and into their results, as a real collector gets them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from open_inference.grpc import protocol

from models.model_topic.descriptor import ModelDescriptor
from models.records.batch import Headers
from tests.end_to_end.conftest import Deploy
from tests.end_to_end.deployment import Deployment, Result
from tests.end_to_end.test_updates import X, record
from tests.models.scorers.servers.open_inference_fake import Answers, RestAnswers, grpc_server, json_answer, rest_server
from tests.otel_collector import running as collector
from tests.otlp_receiver import Received, ReceivedSpan, receiving

SENDER = "00f067aa0ba902b7"
TRACES = {"grpc": "4bf92f3577b34da6a3ce929d0e0e4736", "rest": "0af7651916cd43dd8448eb211c80319c"}
CALLS = {"grpc": "inference.GRPCInferenceService/ModelInfer", "rest": "POST /v2/models/m/infer"}
METADATA = {"name": "m", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}], "outputs": []}
OUTPUT = {"name": "y", "datatype": "FP32", "shape": [1], "data": [0.5]}


def sent_in(trace: str, flags: str = "01") -> Headers:
    """The headers of a record that was sent within a trace."""
    return (("user", b"7"), ("traceparent", f"00-{trace}-{SENDER}-{flags}".encode()), ("tracestate", b"shop=42"))


@pytest.fixture
def received() -> Iterator[Received]:
    with receiving() as made:
        yield made


@pytest.fixture
def over_grpc() -> Answers:
    answer = protocol.ModelInferResponse(model_name="m")
    answer.outputs.add(name="y", datatype="FP32", shape=[1]).contents.fp32_contents.append(0.5)
    return Answers(answer)


@pytest.fixture
def over_rest() -> RestAnswers:
    answer = json_answer({"model_name": "m", "outputs": [OUTPUT]})
    return RestAnswers({"/infer": answer, "/ready": json_answer({}), "/m": json_answer(METADATA)})


@pytest.fixture
def deployment(
    deploy: Deploy,
    received: Received,
    over_grpc: Answers,
    over_rest: RestAnswers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Deployment]:
    """A running deployment with a model behind gRPC and one behind REST, whose telemetry goes through a collector."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "500")
    with (
        collector(tmp_path / "collector", received.address) as endpoint,
        grpc_server(over_grpc) as grpc,
        rest_server(over_rest) as rest,
    ):
        made = deploy(options={"otlp-endpoint": endpoint, "engines": "none"})
        for name, location in {"grpc": f"grpc://{grpc}/m", "rest": f"http://{rest}/v2/models/m"}.items():
            kind = f"open-inference-{name}"
            made.models.publish(ModelDescriptor(name, kind, model_source_location=location, inputs=X))
        made.start()
        yield made
        made.close()


def parent_in(headers: Headers) -> tuple[str, str]:
    """The trace and the span that headers name."""
    version, trace, span, flags = dict(headers)["traceparent"].decode().split("-")  # type: ignore[union-attr]
    assert (version, flags) == ("00", "01")
    return trace, span


@pytest.mark.timeout(240)
def test_a_trace_goes_through_the_pipeline_and_the_server_into_the_result(
    deployment: Deployment, received: Received, over_grpc: Answers, over_rest: RestAnswers
) -> None:
    untraced = [(("user", b"7"),), sent_in("1" * 32, flags="00"), (("traceparent", b"garbage"),)]
    for headers in untraced:
        (result,) = deployment.score(record("grpc"), headers=headers)
        assert result.headers == headers
    for model, trace in TRACES.items():
        (result,) = deployment.score(record(model), headers=sent_in(trace))
        assert result.error is None
        check_trace(deployment, received, trace, model, result)
    for model, calls in (
        ("grpc", over_grpc.metadata),
        ("rest", [headers for path, headers, _ in over_rest.requests if path.endswith("/infer")]),
    ):
        (told,) = [headers for headers in calls if "traceparent" in headers]
        (client,) = received.named(CALLS[model])
        assert (told["traceparent"], told["tracestate"]) == (f"00-{TRACES[model]}-{client.id}-01", "shop=42")
    assert {one.trace for one in received.spans} == set(TRACES.values())
    topic = deployment.topic("records")
    received.eventually(lambda: records_counted(received, topic) == len(untraced) + len(TRACES))
    assert received.resources[-1]["service.name"] == deployment.group


def check_trace(deployment: Deployment, received: Received, trace: str, model: str, result: Result) -> None:
    """Checks the whole tree of a record that was scored alone."""
    call, records, results = CALLS[model], deployment.topic("records"), deployment.topic("results")
    names = {
        f"process {records}",
        f"score {records}",
        f"receive {records}",
        "decode",
        f"call {model}",
        call,
        "encode",
        f"send {results}",
    }

    def of_trace() -> dict[str, ReceivedSpan]:
        found = [one for one in received.spans if one.trace == trace]
        assert len({one.name for one in found}) == len(found)
        return {one.name: one for one in found}

    received.eventually(lambda: of_trace().keys() == names)
    spans = of_trace()
    process, score, send = spans[f"process {records}"], spans[f"score {records}"], spans[f"send {results}"]
    assert process.parent == SENDER and process.attributes["messaging.kafka.offset"] == result.where[1]
    assert send.parent == score.parent == process.id
    assert {spans[name].parent for name in (f"receive {records}", "decode", f"call {model}", "encode")} == {score.id}
    assert spans[call].parent == spans[f"call {model}"].id
    assert score.links == {process.key} and process.links == {score.key}
    kinds = {name: spans[name].kind for name in (process.name, score.name, call, send.name)}
    assert list(kinds.values()) == ["CONSUMER", "CONSUMER", "CLIENT", "PRODUCER"]
    assert all(one.start <= one.end and one.error is None for one in spans.values())
    assert process.end <= send.end and score.start <= spans[call].start <= spans[call].end <= score.end
    assert parent_in(result.headers) == send.key
    assert {("user", b"7"), ("tracestate", b"shop=42")} < set(result.headers)


def records_counted(received: Received, topic: str) -> float:
    """The records of a topic that the newest metrics count."""
    counted = received.metrics.get("beam_serving.records")
    points = counted.sum.data_points if counted is not None else ()
    return sum(float(one.as_double) for one in points if one.attributes[0].value.string_value == topic)
