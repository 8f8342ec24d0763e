"""Metrics and traces over OTLP, to a receiver that parses the protocol, and to endpoints that are away."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator

import numpy as np
import pytest

from models.errors import OptionsError
from models.observing.instruments import MODELS_WAITING, RECORDS, STAGE_DURATION
from models.observing.observation import Observation
from models.observing.otlp_settings import OtlpSettings
from models.observing.settings import ObservationSettings
from models.observing.telemetry import TALKATIVE
from models.records.outgoing import OutgoingMessage
from tests.models.fakes import batch_of
from tests.otlp_receiver import Received, receiving

LABELS = ("score", "wine", "3")
SAMPLED = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def received() -> Iterator[Received]:
    with receiving() as made:
        yield made


def opened(address: str, share: float = 0.0) -> Observation:
    return ObservationSettings(otlp=OtlpSettings(f"http://{address}/", "fraud", share)).open()


def trace_one(observation: Observation) -> None:
    """A message with a trace, so that there is a span."""
    sending = observation.tracing.sending(OutgoingMessage("results", None, b"", (("traceparent", SAMPLED),)))
    assert sending is not None
    sending[1].end()


def test_the_sums_arrive_as_cumulative_metrics(received: Received) -> None:
    before = time.time_ns()
    observation = opened(received.address)
    observation.measure(RECORDS, 5, ("clicks",))
    observation.measure(RECORDS, 2, ("views",))
    observation.measure(MODELS_WAITING, 2)
    observation.measure_all(STAGE_DURATION, np.array([0.0004, 0.02, 0.02, 500.0]), LABELS)
    observation.close()
    assert set(received.paths) == {"/v1/metrics"}
    records = received.metrics["beam_serving.records"]
    assert (records.unit, records.sum.is_monotonic, records.sum.aggregation_temporality) == ("{record}", True, 2)
    assert {one.attributes[0].value.string_value: one.as_double for one in records.sum.data_points} == {
        "clicks": 5,
        "views": 2,
    }
    assert [one.as_double for one in received.metrics["beam_serving.models.waiting"].gauge.data_points] == [2]
    (point,) = received.metrics["beam_serving.stage.duration"].histogram.data_points
    assert {one.key: one.value.string_value for one in point.attributes} == dict(
        zip(STAGE_DURATION.labels, LABELS, strict=True)
    )
    assert tuple(point.explicit_bounds) == STAGE_DURATION.limits
    assert (point.count, point.sum) == (4, pytest.approx(500.0404))
    assert [bool(one) for one in point.bucket_counts] == [True, *[False] * 4, True, *[False] * 10, True]
    assert list(point.bucket_counts)[5] == 2 and sum(point.bucket_counts) == 4
    assert not point.HasField("min") and not point.HasField("max")
    assert before <= point.start_time_unix_nano <= point.time_unix_nano <= time.time_ns()


def test_metrics_and_spans_name_the_service_and_the_process(received: Received) -> None:
    observation = opened(received.address)
    observation.measure(RECORDS, 1, ("clicks",))
    trace_one(observation)
    observation.close()
    (span,), (resource,) = received.spans, received.resources
    named = {"service.name": "fraud", "service.instance.id": f"{socket.gethostname()}:{os.getpid()}"}
    assert named.items() <= resource.items() and named.items() <= span.resource.items()


def test_the_environment_of_opentelemetry_applies(received: Received, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20secret")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "named")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    observation = opened(received.address)
    trace_one(observation)
    observation.close()
    (span,) = received.spans
    assert {"service.name": "named", "deployment.environment.name": "test"}.items() <= span.resource.items()
    assert {one["authorization"] for one in received.headers} == {"Bearer secret"}


@pytest.mark.parametrize(
    ("variable", "value", "paths"),
    [
        ("OTEL_TRACES_EXPORTER", "none", {"/v1/metrics"}),
        ("OTEL_METRICS_EXPORTER", "none", {"/v1/traces"}),
        ("OTEL_SDK_DISABLED", "true", set()),
    ],
)
def test_the_environment_switches_off(
    received: Received, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, paths: set[str]
) -> None:
    monkeypatch.setenv(variable, value)
    observation = opened(received.address)
    observation.measure(RECORDS, 1, ("clicks",))
    if "/v1/traces" in paths:
        trace_one(observation)
    else:
        assert observation.tracing.begin(batch_of([b""], headers=[(("traceparent", SAMPLED),)])) is None
    observation.close()
    assert set(received.paths) == paths


@pytest.fixture
def hanging() -> Iterator[str]:
    """The address of a server that accepts connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield f"127.0.0.1:{server.getsockname()[1]}"


def refusing() -> str:
    """An address where nobody listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["refusing", "hanging"])
def test_an_endpoint_that_is_away_holds_up_nothing(
    kind: str, hanging: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "512")
    for name in TALKATIVE:  # the filters of earlier tests remember what they have logged
        monkeypatch.setattr(logging.getLogger(name), "filters", [])
    observation = opened(hanging if kind == "hanging" else refusing())
    observation.measure(RECORDS, 1, ("clicks",))
    began = time.monotonic()
    for _ in range(3_000):  # more than the queue takes
        trace_one(observation)
    handed_over = time.monotonic()
    observation.close()
    # Its own waits end after three seconds each; the rest is for a slow machine.
    assert time.monotonic() - handed_over < 15
    assert handed_over - began < 30
    logged = [(record.name, record.msg) for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(logged) == len(set(logged)), logged
    assert any("Queue full" in text for _, text in logged)


@pytest.mark.parametrize(
    "endpoint",
    ["localhost:4318", "grpc://localhost:4317", "http://", "http://user:secret@host", "http://host?x=1", "http://h:x"],
)
def test_an_endpoint_that_is_no_address_is_refused_without_repeating_it(endpoint: str) -> None:
    with pytest.raises(OptionsError, match=r"--otlp-endpoint is not http") as refused:
        OtlpSettings(endpoint, "fraud").check()
    assert "secret" not in str(refused.value)


def test_a_good_endpoint_passes() -> None:
    OtlpSettings("https://collector.example:4318/otlp", "fraud", 0.5).check()
