"""`models sync mlflow` between a real MLflow server and a real broker."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from beam_pipeline.cli.command_line import main
from models.kafka.client import KafkaSettings
from models.model_topic.publisher import ModelPublisher
from runners.local.kafka_broker import LocalBroker
from tests.mlflow_server import MlflowServer
from tests.models.scorers.learned import rows_of, training

NAME = "synced wine"


def log(server: MlflowServer, seed: int) -> str:
    return server.log(NAME, LogisticRegression().fit(*training(seed)), rows_of(5).astype(np.float64))


@pytest.fixture
def topic(broker: LocalBroker, topic_names: Callable[[str], str]) -> ModelPublisher:
    return ModelPublisher(KafkaSettings(broker.bootstrap_servers), topic_names("models"))


@pytest.fixture
def words(topic: ModelPublisher, broker: LocalBroker, mlflow_server: MlflowServer, tmp_path: Path) -> list[str]:
    config = {"bootstrap-servers": broker.bootstrap_servers, "models-topic": topic._topic}
    (tmp_path / "serving.yaml").write_text(json.dumps(config))
    words = ["models", "sync", "mlflow", "--tracking-uri", mlflow_server.url, "--alias", "champion"]
    return [*words, "--name", "wine-of-ours", "--registered-model", NAME, "--config", str(tmp_path / "serving.yaml")]


def states(topic: ModelPublisher) -> list[tuple[int, str]]:
    return [(one.descriptor.model_version, one.state) for one in topic.versions()]


def test_an_alias_is_followed_and_nothing_is_published_twice(
    mlflow_server: MlflowServer, topic: ModelPublisher, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = log(mlflow_server, 1), log(mlflow_server, 2)

    def sync(version: str, *more: str) -> str:
        mlflow_server.point(NAME, "champion", version)
        assert main([*words, "--once", *more]) == 0
        return capsys.readouterr().out

    assert "version 1 is published and live" in sync(first)
    end = topic.read().position
    assert "version 1 is live" in sync(first)
    assert topic.read().position == end
    assert "version 2 is published and live" in sync(second)
    assert "version 1 was published before, and is live again" in sync(first)
    assert states(topic) == [(1, "live"), (2, "previous")]
    descriptors = [one.descriptor for one in topic.versions()]
    places = [f"mlflow+{mlflow_server.url}/models:/synced%20wine/{version}" for version in (first, second)]
    assert [descriptor.model_source_location for descriptor in descriptors] == places
    assert all(descriptor.digest for descriptor in descriptors)
    # Other options create another version of the same model.
    assert "version 3 is published and live" in sync(first, "--description", "for tests")


def test_a_running_sync_notices_a_change_and_ends_at_ctrl_c(
    mlflow_server: MlflowServer, topic: ModelPublisher, words: list[str]
) -> None:
    first, second = log(mlflow_server, 1), log(mlflow_server, 2)
    mlflow_server.point(NAME, "champion", first)
    command = [sys.executable, "-m", "beam_pipeline", *words, "--every", "200ms"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            _until(process, lambda: states_if_any(topic) == [(1, "live")])
            mlflow_server.client.delete_registered_model_alias(NAME, "champion")
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            assert any("wine-of-ours: not published" in line and "champion" in line for line in lines)
            mlflow_server.point(NAME, "champion", second)
            _until(process, lambda: states(topic) == [(1, "previous"), (2, "live")])
        finally:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors


def states_if_any(topic: ModelPublisher) -> list[tuple[int, str]]:
    try:
        return states(topic)
    except Exception:  # the topic is made with the first version
        return []


def _until(process: subprocess.Popen[str], reached: Callable[[], Any]) -> None:
    end = time.monotonic() + 120
    while not reached():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--inline"], "--inline"),
        (["--tracking-uri", "sqlite:///m.db"], "--tracking-uri"),
        (["--every", "soon"], "--every"),
        (["--every", "0s"], "--every"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    words: list[str], more: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, *more]) == 2
    assert reason in capsys.readouterr().err
