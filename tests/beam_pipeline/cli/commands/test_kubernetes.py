"""`beam-serving kubernetes` between a real broker and a stand-in for the API server."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beam_pipeline.cli.command_line import main
from models.kafka.client import KafkaSettings
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.publisher import ModelPublisher
from models.status.events import ArmShare, EventKind, ModelStatistics, StatusEvent, WorkerState
from tests.beam_pipeline.cli.commands.test_commands import Cli, command, kafka, send
from tests.beam_pipeline.cli.model_objects.api_server import COLLECTION, ApiServer, running

__all__ = ["command", "kafka"]

Report = Callable[..., None]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    with running(tmp_path) as one:
        monkeypatch.setenv("KUBECONFIG", str(one.kubeconfig))
        yield one


@pytest.fixture
def topic(command: Cli, kafka: KafkaSettings) -> ModelPublisher:
    return ModelPublisher(kafka, command.topics["models-topic"])


@pytest.fixture
def report(command: Cli, kafka: KafkaSettings) -> Report:
    """Reports a state of wine/VERSION as a worker does."""

    def send_event(
        kind: EventKind,
        version: int,
        share: float | None = None,
        *,
        error: str | None = None,
        worker: str = "w1",
        deployment: str = "wine-serving",
        ago: int = 0,
    ) -> None:
        now = time.time_ns() // 1_000_000 - ago
        arms = () if share is None else (ArmShare("wine", "live", "serve", share),)
        statistics = ModelStatistics("wine", version, None, 1_700_000_000_000, usage=10 * version, arms=arms)
        given = statistics if kind in ("serving", "statistics", "released") else None
        event = StatusEvent(kind, now, worker, "wine", version, "wine", error, given, deployment)
        state = StatusEvent("worker", now, worker, deployment=deployment, state=WorkerState(1))
        send(kafka, command.topics["status-topic"], (event.key, event.to_json()), (state.key, state.to_json()))

    return send_event


def publish(topic: ModelPublisher, count: int) -> None:
    for number in range(count):
        topic.publish(ModelDescriptor("wine", "onnx", model_source_location=f"/m/{number + 1}"))


ONCE = ("kubernetes", "--once", "--group", "wine-serving")


def columns(server: ApiServer) -> dict[str, tuple[str, str, int]]:
    return {
        name: (one["status"]["state"], one["status"]["answers"], one["status"]["workers"])
        for name, one in sorted(server.objects.items())
    }


def reasons(server: ApiServer) -> list[tuple[str, str, str]]:
    return [(one["type"], one["reason"], one["involvedObject"]["name"]) for one in server.events]


def test_versions_are_objects_and_changes_are_events(
    command: Cli, server: ApiServer, topic: ModelPublisher, report: Report
) -> None:
    publish(topic, 2)
    report("serving", 1, 1.0)
    report("loading", 2)
    assert command(*ONCE) == 0
    assert columns(server) == {"wine-1": ("serving", "wine 100 %", 1), "wine-2": ("loading", "", 0)}
    assert reasons(server) == [("Normal", "Serving", "wine-1")]
    assert server.objects["wine-1"]["spec"]["location"] == "/m/1"
    assert server.events[0]["involvedObject"]["uid"] == server.objects["wine-1"]["metadata"]["uid"]
    assert server.events[0]["involvedObject"]["namespace"] == "serving"

    report("serving", 2, 1.0)
    report("released", 1, worker="w1")
    assert command(*ONCE) == 0
    assert columns(server) == {"wine-1": ("released", "", 0), "wine-2": ("serving", "wine 100 %", 1)}
    assert reasons(server)[1:] == [("Normal", "Released", "wine-1"), ("Normal", "Serving", "wine-2")]
    assert server.events[-1]["message"] == "wine/2 serves: wine 100 %, in place of wine/1"

    report("failed", 3, error="the digest differs")
    publish(topic, 1)
    assert command(*ONCE) == 0
    assert reasons(server)[3:] == [("Warning", "Refused", "wine-3")]
    assert "the digest differs" in server.events[-1]["message"]


def test_nothing_is_written_when_nothing_has_changed(
    command: Cli, server: ApiServer, topic: ModelPublisher, report: Report
) -> None:
    publish(topic, 1)
    report("serving", 1, 1.0)
    assert command(*ONCE) == 0
    server.requests.clear()
    assert command(*ONCE) == 0
    assert [method for method, _ in server.requests] == ["GET"]


def test_workers_of_other_deployments_and_workers_that_ended_do_not_count(
    command: Cli, server: ApiServer, topic: ModelPublisher, report: Report
) -> None:
    publish(topic, 1)
    report("serving", 1, 1.0, worker="w0", ago=60_000)
    report("serving", 1, 1.0, worker="w2", deployment="another")
    assert command(*ONCE) == 0
    assert columns(server) == {"wine-1": ("live", "", 0)}
    assert server.objects["wine-1"]["status"]["records"] == 10
    assert server.events == []
    report("serving", 1, 1.0, worker="w1")
    assert command(*ONCE) == 0
    assert columns(server) == {"wine-1": ("serving", "wine 100 %", 1)}


def test_malformed_messages_are_skipped_and_counted(
    command: Cli,
    server: ApiServer,
    topic: ModelPublisher,
    report: Report,
    kafka: KafkaSettings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    publish(topic, 1)
    report("serving", 1, 1.0)
    send(kafka, command.topics["status-topic"], (b"w1", b'{"kind": "serving", "at": 1, "worker": ["w1"]}'))
    assert command(*ONCE) == 0
    assert columns(server) == {"wine-1": ("serving", "wine 100 %", 1)}
    assert "kubernetes: 1 message of the status topic skipped; the last one: not" in capsys.readouterr().err


def test_objects_of_versions_that_are_gone_are_deleted_and_those_of_others_are_kept(
    command: Cli, server: ApiServer, topic: ModelPublisher, report: Report
) -> None:
    publish(topic, 1)
    report("serving", 1, 1.0)
    theirs = {"metadata": {"name": "theirs", "labels": {}}, "spec": {}}
    ours = {"metadata": {"name": "old-1", "labels": {"app.kubernetes.io/managed-by": "beam-serving"}}, "spec": {}}
    server.objects = {"theirs": theirs, "old-1": ours}
    assert command(*ONCE) == 0
    assert set(server.objects) == {"theirs", "wine-1"}
    assert ("DELETE", f"{COLLECTION}/old-1") in server.requests


def test_a_deployment_can_own_the_objects_so_that_they_end_with_it(
    command: Cli, server: ApiServer, topic: ModelPublisher, report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(topic, 1)
    report("serving", 1, 1.0)
    assert command(*ONCE) == 0
    assert "ownerReferences" not in server.objects["wine-1"]["metadata"]
    owned = (*ONCE, "--owner", "model-status")
    assert command(*owned) == 1
    missing = "reading deployment model-status: 404 Not Found: {}; --owner names an existing Deployment"
    assert missing in capsys.readouterr().err
    server.deployments["model-status"] = "1234"
    publish(topic, 1)
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "model-status", "uid": "1234"}
    assert command(*owned) == 0
    assert [one["metadata"]["ownerReferences"] for one in server.objects.values()] == [[owner]] * 2
    server.requests.clear()
    assert command(*owned) == 0
    assert {method for method, _ in server.requests} == {"GET"}


def test_a_changed_description_reaches_the_object(
    command: Cli, server: ApiServer, topic: ModelPublisher, report: Report
) -> None:
    publish(topic, 1)
    report("loading", 1)
    assert command(*ONCE) == 0
    server.objects["wine-1"]["spec"]["location"] = "elsewhere"
    server.objects["wine-1"]["spec"]["description"] = "by hand"
    assert command(*ONCE) == 0
    assert server.objects["wine-1"]["spec"]["location"] == "/m/1"
    assert "description" not in server.objects["wine-1"]["spec"]


def test_a_refused_request_names_what_was_refused(
    command: Cli, server: ApiServer, topic: ModelPublisher, report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(topic, 1)
    report("serving", 1, 1.0)
    server.refusal = 403
    assert command(*ONCE) == 1
    assert "listing modelversions.beam-serving.io: 403" in capsys.readouterr().err
    server.refusal = 404
    assert command(*ONCE) == 1
    assert "components/model-status" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["kubernetes", "--group", "g", "--every", "0s"], "--every must be above 0"),
        (["kubernetes", "--group", "g", "--every", "soon"], "--every 'soon'"),
        (["kubernetes"], "missing --group"),
    ],
)
def test_a_usage_error(command: Cli, words: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(*words) == 2
    assert reason in capsys.readouterr().err


def test_without_a_cluster_the_error_says_what_is_missing(
    command: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert main(["kubernetes", "--config", command.config, "--group", "g"]) == 2
    assert "KUBECONFIG" in capsys.readouterr().err


def test_it_follows_the_topics_survives_an_outage_and_ends_at_a_signal(
    command: Cli, server: ApiServer, topic: ModelPublisher, report: Report, tmp_path: Path
) -> None:
    publish(topic, 2)
    report("serving", 1, 1.0)
    touched = tmp_path / "reported"
    words = ["kubernetes", "--config", command.config, "--group", "wine-serving", "--every", "200ms"]
    program = [sys.executable, "-m", "beam_pipeline", *words, "--touch", str(touched)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            _until(process, touched.exists)
            server.refusal = 503
            touched.unlink()
            report("serving", 2, 1.0)
            report("released", 1)
            count = len(server.requests)
            _until(process, lambda: len(server.requests) > count + 2)
            assert not touched.exists()
            server.refusal = 0
            _until(process, lambda: columns(server)["wine-2"] == ("serving", "wine 100 %", 1))
            _until(process, touched.exists)
        finally:
            process.send_signal(signal.SIGTERM)
            printed, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert errors.count("503") == 1
    assert "Serving: wine/2 serves: wine 100 %, in place of wine/1" in printed


def _until(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not reached():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
