"""The component declared-models, from an overlay to the models topic of a real broker."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from beam_pipeline.cli.command_line import main
from models.kafka.client import KafkaSettings
from models.model_topic.history import read_history
from models.model_topic.publisher import ModelPublisher
from models.model_topic.route_publisher import RoutePublisher
from runners.local.kafka_broker import LocalBroker
from tests.flink.kubernetes import overlays
from tests.flink.kubernetes.fetched import kustomize, run
from tests.saved_models import save_version_model

NAME = "publish-models"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of flink/kubernetes, as a user has it."""
    copy = tmp_path_factory.mktemp("repository") / "kubernetes"
    shutil.copytree(overlays.FOLDER, copy)
    yield copy


def built(folder: Path, content: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The files of the ConfigMap and the pod's spec, for a content of models.yaml."""
    (folder / "overlays" / "aws" / "models.yaml").write_text(content)
    manifests = list(yaml.safe_load_all(run([*kustomize(), str(folder / "overlays" / "aws")])))
    (job,) = (one for one in manifests if one["kind"] == "CronJob")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (name,) = (one["configMap"]["name"] for one in pod["volumes"] if one["name"] == "declared-models")
    (config,) = (one for one in manifests if one["kind"] == "ConfigMap" and one["metadata"]["name"] == name)
    return config["data"], pod


@pytest.fixture
def publish(
    broker: LocalBroker, topic_names: Callable[[str], str], tmp_path: Path
) -> tuple[KafkaSettings, str, Callable[..., int]]:
    """The broker, the topic, and what runs the job's own command with them instead of those of its serving.yaml."""
    kafka, topic = KafkaSettings(broker.bootstrap_servers), topic_names("models")
    serving = tmp_path / "serving.yaml"
    serving.write_text(
        json.dumps(
            {"bootstrap-servers": kafka.bootstrap_servers, "models-topic": topic, "record-schema": "recommender"}
        )
    )

    def run_job(files: dict[str, str], pod: dict[str, Any], *more: str) -> int:
        mounted = tmp_path / "declared-models"
        shutil.rmtree(mounted, ignore_errors=True)
        mounted.mkdir()
        for name, text in files.items():
            (mounted / name).write_text(text)
        places = {"/etc/beam-serving/serving.yaml": str(serving), "/etc/declared-models": str(mounted)}
        arguments = pod["containers"][0]["args"]
        for place, here in places.items():
            assert sum(place in one for one in arguments) == 1
            arguments = [one.replace(place, here) for one in arguments]
        return main([*arguments, *more])

    return kafka, topic, run_job


def declaration(tmp_path: Path, live: int) -> str:
    """Two versions of a model, and a route to the live one."""
    versions = {
        number: {
            "type": "tensorflow-saved-model",
            "location": str(tmp_path / f"model-{number}"),
            "inputs": {"x": "user"},
        }
        for number in (1, 2)
    }
    route = {"arms": [{"name": "live", "model": "m", "version": live}]}
    return yaml.safe_dump({"models": {"m": {"live": live, "versions": versions}}, "routes": {"m": route}})


def test_what_is_in_the_manifests_is_in_the_topic_after_one_run_and_the_next_changes_nothing(
    folder: Path,
    publish: tuple[KafkaSettings, str, Callable[..., int]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kafka, topic, run_job = publish
    for number in (1, 2):
        save_version_model(tmp_path / f"model-{number}", number)
    models = ModelPublisher(kafka, topic)
    for live in (1, 2):
        job = built(folder, declaration(tmp_path, live))
        before = len(read_history(kafka, topic))
        assert run_job(*job, "--dry-run") == 0
        assert len(read_history(kafka, topic)) == before
        assert run_job(*job) == 0
        assert models.read().pointers["m"].pointer.live_version == live
        route = RoutePublisher(kafka, topic).routes()["m"].route.newest
        assert [arm.label for arm in route.arms] == [f"m/{live}"]
        written = len(read_history(kafka, topic))
        capsys.readouterr()
        assert run_job(*job) == 0
        assert capsys.readouterr().out == "m: unchanged\nm: unchanged\n"
        assert len(read_history(kafka, topic)) == written > before


def test_the_content_in_the_repository_changes_nothing(
    folder: Path, publish: tuple[KafkaSettings, str, Callable[..., int]]
) -> None:
    kafka, topic, run_job = publish
    content = (overlays.FOLDER / "overlays" / "aws" / "models.yaml").read_text()
    assert run_job(*built(folder, content)) == 0
    assert read_history(kafka, topic) == []


def test_the_example_in_its_comments_is_one_that_is_read(folder: Path, tmp_path: Path) -> None:
    from beam_pipeline.publishing.declaration import read_declaration

    lines = (overlays.FOLDER / "overlays" / "aws" / "models.yaml").read_text().splitlines()
    example = [line.removeprefix("# ") for line in lines if line.startswith("# ")][1:]
    (tmp_path / "models.yaml").write_text("\n".join(example))
    declared = read_declaration(str(tmp_path / "models.yaml"))
    assert [(model.name, model.live) for model in declared.models] == [("wine", 1)]
    assert set(declared.routes) == {"wine"}


def test_a_changed_declaration_changes_what_the_next_run_mounts(folder: Path) -> None:
    def mounted(content: str) -> str:
        _, pod = built(folder, content)
        (name,) = (one["configMap"]["name"] for one in pod["volumes"] if one["name"] == "declared-models")
        return str(name)

    assert mounted("models: {}") != mounted("routes: {}")
