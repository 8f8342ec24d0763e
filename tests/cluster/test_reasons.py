"""What the cluster lacks: no command reports success, and each reports the reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flink.cluster.kubernetes_client import kubectl
from flink.cluster.platform import kafka, prerequisites
from tests.cluster.conftest import Command
from tests.cluster.on_kubernetes import ENVIRONMENT, IN_NAMESPACE, edit_yaml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
MONITORS = "podmonitors.monitoring.coreos.com"


def refused(command: Command, capsys: pytest.CaptureFixture[str], name: str = "deploy", seconds: float = 240.0) -> str:
    """The error of a command that must fail."""
    capsys.readouterr()
    assert command(name, seconds=seconds) == 1
    return capsys.readouterr().err


def test_a_missing_secret(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    kubectl("delete", "secret", "kafka-client", IN_NAMESPACE)
    try:
        assert "the Secret kafka-client in namespace beam-serving" in refused(command, capsys)
    finally:
        prerequisites.create_kafka_secret()


def test_a_missing_definition(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    definition = kubectl("get", "customresourcedefinition", MONITORS, "--output=json")
    kubectl("delete", "customresourcedefinition", MONITORS)
    try:
        assert f"{MONITORS}: install the Prometheus operator" in refused(command, capsys)
    finally:
        content = json.loads(definition)
        content["metadata"] = {key: content["metadata"][key] for key in ("name", "annotations")}
        content.pop("status")
        kubectl("create", "--filename=-", given=json.dumps(content))


@pytest.fixture
def nothing_left(command: Command) -> Iterator[None]:
    """Deletes what a failed deployment has left, which must work too."""
    yield
    assert command("delete") == 0


@contextmanager
def image_tag(overlays: Path, tag: str) -> Iterator[None]:
    """The overlay names another version of the worker's image."""
    path = overlays / ENVIRONMENT / "kustomization.yaml"
    before = path.read_text(encoding="utf-8")
    edit_yaml(path, lambda content: content["images"][1].update(newTag=tag))
    yield
    path.write_text(before, encoding="utf-8")


@pytest.mark.usefixtures("nothing_left")
def test_a_missing_image(command: Command, capsys: pytest.CaptureFixture[str], overlays: Path) -> None:
    with image_tag(overlays, "0.0.0"):
        error = refused(command, capsys)
    assert "make-job" in error
    assert "Image" in error
    assert "beam-serving-worker:0.0.0" in error


@pytest.mark.usefixtures("nothing_left")
def test_a_broker_that_is_away(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    kafka.stop()
    try:
        error = refused(command, capsys, seconds=400.0)
    finally:
        kafka.start()
    assert "make-job" in error
    assert "kafka-kafka-bootstrap.kafka.svc:9093" in error


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(("pods", "reason"), [(0, "cannot be created"), (1, "no task manager was created")])
def test_an_exhausted_quota(command: Command, capsys: pytest.CaptureFixture[str], pods: int, reason: str) -> None:
    kubectl("create", "quota", "small", f"--hard=pods={pods}", IN_NAMESPACE)
    try:
        error = refused(command, capsys)
    finally:
        kubectl("delete", "quota", "small", IN_NAMESPACE)
    assert reason in error
    assert "small" in error


def test_what_was_refused_can_be_deployed_once_the_reason_is_gone(command: Command) -> None:
    assert command("deploy") == 0
