"""What a job on Flink tells of its answers: payloads, explanations, drift, outliers and traces, of all its workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_pipeline.cli.command_line import main
from models.observing.drift.events import DriftEvent
from models.observing.drift.messages import WindowMessage, decode_sketches
from models.observing.sampling import Sampling
from runners.flink.cluster import LocalFlinkCluster
from tests.end_to_end.applicants import FIELDS, schema_file
from tests.end_to_end.deployment import Result
from tests.end_to_end.flink.conftest import PARTITIONS, DeployOnFlink
from tests.end_to_end.flink.flink_deployment import FlinkDeployment
from tests.end_to_end.kafka_tail import KafkaTail
from tests.otel_collector import running as collector
from tests.otlp_receiver import Received, receiving
from tests.saved_models import save_linear_model

WEIGHTS = (2.0, -3.0, 0.5)
SHARE = 0.05
WORKERS = 2
MADE = ("payloads", "explanations", "drift")
OBSERVED = {
    "payload-share": SHARE,
    "explain-share": SHARE,
    "outliers": "on",
    "drift-window": 5,
    "drift-min-records": 200,
    "trace-share": SHARE,
}
Applicants = list[dict[str, Any]]


def applicants(count: int, seed: int, moved: float = 0.0) -> Applicants:
    """Records with normally distributed fields; `moved` is the mean of the first one."""
    rows = np.random.default_rng(seed).normal(size=(count, len(FIELDS))) + np.array([moved, 0, 0])
    return [{**dict(zip(FIELDS, row, strict=True)), "dataType": "loan"} for row in rows.round(3).tolist()]


def publish_with_baseline(deployment: FlinkDeployment, folder: Path, schema: str) -> None:
    baseline = folder / "baseline.jsonl"
    baseline.write_text("\n".join(map(json.dumps, applicants(5_000, seed=1))), encoding="utf-8")
    model = save_linear_model(folder / "model", list(WEIGHTS))
    broker = ("--bootstrap-servers", deployment.kafka.bootstrap_servers, "--models-topic", deployment.topic("models"))
    what = ("--name", "loan", "--type", "tensorflow-saved-model", "--path", str(model), "--inline")
    fields = ("--input", f"v={','.join(FIELDS)}", "--record-schema", schema, "--baseline", str(baseline))
    assert main(["models", "publish", *broker, *what, *fields]) == 0


def score(deployment: FlinkDeployment, records: Applicants) -> list[Result]:
    """The results of records that are spread over all partitions."""
    offsets = {place: deployment.send(records[place::PARTITIONS], partition=place) for place in range(PARTITIONS)}
    return [one for place, sent in offsets.items() for one in deployment.results_of(sent, place)]


def messages(deployment: FlinkDeployment, topic: str, enough: Callable[[list[bytes]], bool]) -> list[bytes]:
    """The values of a topic, once there are enough."""
    tail = KafkaTail(deployment.kafka, topic)
    try:
        assert tail.until(lambda: enough([one.value() for one in tail.messages])), f"{topic}: {len(tail.messages)}"
        return [one.value() for one in tail.messages]
    finally:
        tail.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_all_workers_of_a_job_tell_what_their_models_got_and_gave(
    make_cluster: Callable[..., LocalFlinkCluster], deploy: DeployOnFlink, tmp_path: Path
) -> None:
    schema = schema_file(tmp_path)
    quickly = {"OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_METRIC_EXPORT_INTERVAL": "500"}
    cluster = make_cluster(task_managers=WORKERS, slots=1, worker_environment=quickly)
    with receiving() as received, collector(tmp_path / "collector", received.address) as endpoint:
        options: dict[str, Any] = {"record-schema": schema, "otlp-endpoint": endpoint, **OBSERVED}
        deployment = deploy(cluster, WORKERS, schema, **options)
        for kind in MADE:
            deployment.make_topic(kind)
        publish_with_baseline(deployment, tmp_path, schema)
        payloads, explanations, drift = map(deployment.topic, MADE)
        deployment.start(payload_topic=payloads, explain_topic=explanations, drift_topic=drift)
        deployment.score(*applicants(1, seed=2))
        usual = score(deployment, applicants(4_000, seed=3))
        check_sampled(deployment, [payloads, explanations], usual)
        check_outliers(deployment)
        check_traces(deployment, received)
        check_drift(deployment, drift)
        deployment.close()


def check_sampled(deployment: FlinkDeployment, topics: list[str], results: list[Result]) -> None:
    """Each topic has a message for every sampled record, of all partitions, with the answer of its result."""
    records, answers = deployment.topic("records"), {one.where: one.values("out")[0] for one in results}
    offsets = {place: np.array([at for part, at in answers if part == place]) for place in range(PARTITIONS)}
    sampled = {
        (place, at)
        for place, of_partition in offsets.items()
        for at in of_partition[Sampling(SHARE).chosen(records, place, of_partition)].tolist()
    }
    assert {place for place, _ in sampled} == set(range(PARTITIONS))

    def found(values: list[bytes]) -> dict[tuple[int, int], dict[str, Any]]:
        events = [json.loads(one) for one in values]
        return {(one["partition"], one["offset"]): one for one in events}

    payloads, explanations = (
        found(messages(deployment, topic, lambda values: found(values).keys() >= sampled)) for topic in topics
    )
    for where in sampled:
        assert payloads[where]["outputs"]["out"]["values"] == pytest.approx([answers[where]])
        explanation = explanations[where]
        assert explanation["prediction"] == pytest.approx(answers[where], abs=1e-5)
        shares = [one["attribution"] for one in explanation["attributions"]]
        assert sum(shares) == pytest.approx(explanation["prediction"] - explanation["baseValue"], abs=1e-3)


def check_outliers(deployment: FlinkDeployment) -> None:
    usual, far = deployment.score(*applicants(1, seed=4), {**applicants(1, seed=4)[0], "income": 50.0})
    assert (usual.metadata["outlier"], far.metadata["outlier"]) == (False, True)


def check_traces(deployment: FlinkDeployment, received: Received) -> None:
    """Spans of records and of results come, of both workers, and belong together."""
    records, results = deployment.topic("records"), deployment.topic("results")
    sent = received.eventually(lambda: received.named(f"send {results}"))[0]
    processed = received.eventually(
        lambda: [one for one in received.named(f"process {records}") if one.id == sent.parent]
    )
    assert processed[0].trace == sent.trace
    received.eventually(lambda: len({one.resource["service.instance.id"] for one in received.spans}) == WORKERS)


def check_drift(deployment: FlinkDeployment, topic: str) -> None:
    """The sketches of both workers are judged together: the moved field is reported, and no other."""
    before = messages(deployment, f"{topic}-sketches", lambda values: len(windows_of(values)) >= WORKERS)
    assert len({one.worker for one in windows_of(before)}) == WORKERS
    for seed in range(10, 22):
        score(deployment, applicants(1_000, seed, moved=1.0))
    values = messages(deployment, topic, lambda found: len(found) >= 2)
    events = [DriftEvent.from_json(one) for one in values]
    assert {(one.model, one.version) for one in events} == {("loan", 1)}
    assert {one.field for one in events} == {"income", "out"}


def windows_of(values: list[bytes]) -> list[WindowMessage]:
    found = [decode_sketches(one) for one in values if one]
    return [one for one in found if isinstance(one, WindowMessage)]
