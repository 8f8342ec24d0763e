"""`models publish --location` from a Hub, an artifact registry and a git repository, with a real broker."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import oras.client
import pytest

from beam_pipeline.cli.command_line import main
from models.artifacts.digest import digest_of_path, regular_files
from models.errors import DigestMismatchError, ModelLoadError
from models.kafka.client import KafkaSettings
from models.locations.hugging_face_hub import ENDPOINT_VARIABLE
from models.locations.oci_registry import CREDENTIALS_VARIABLE
from models.model_topic.publisher import ModelPublisher
from models.scorers import load_scorer
from models.scorers.base import ModelSource
from runners.local.kafka_broker import LocalBroker
from tests.models.locations.git_server import ISOLATED, Repository
from tests.models.locations.git_server import serving as git_server
from tests.models.locations.hub_server import hub
from tests.models.locations.registry_server import registry
from tests.saved_models import save_linear_model
from transforms.file_systems import BeamOpener

FIELDS = "v=alcohol,pH"


@dataclass(frozen=True)
class Origin:
    """A place from which models are published.

    Attributes:
      location: a location with a tag or branch, which leads to the model that was put there last.
      put: puts a SavedModel there.
      reach: makes the place reachable or unreachable.
    """

    location: str
    put: Callable[[Path], None]
    reach: Callable[[bool], None]


@contextmanager
def hub_origin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Origin]:
    with hub() as server:
        monkeypatch.setenv(ENDPOINT_VARIABLE, server.site.url)
        commits = iter("123456789")

        def put(model: Path) -> None:
            commit = next(commits) * 40
            files = {f"tf/{name}": path.read_bytes() for name, path in regular_files(model)}
            server.add("acme/wine", commit, files, large=("tf/variables/variables.data-00000-of-00001",))
            server.point("acme/wine", "main", commit)

        answers = server.site.answers
        yield Origin(
            "hf://acme/wine@main/tf",
            put,
            lambda there: setattr(server.site, "answers", answers if there else {}),
        )


@contextmanager
def oci_origin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Origin]:
    monkeypatch.delenv(CREDENTIALS_VARIABLE, raising=False)
    with registry() as server:
        client = oras.client.OrasClient(hostname=server.host, insecure=True)

        def put(model: Path) -> None:
            client.push(f"{server.host}/wine:v1", files=[str(model)], disable_path_validation=True, quiet=True)

        manifests = server.manifests
        yield Origin(
            f"oci+http://{server.host}/wine:v1",
            put,
            lambda there: setattr(server, "manifests", manifests if there else {}),
        )


@contextmanager
def git_origin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Origin]:
    for name, value in ISOLATED.items():
        monkeypatch.setenv(name, value)
    repository = Repository.at(folder / "served" / "models")
    with git_server(repository.folder.parent) as server:

        def put(model: Path) -> None:
            shutil.rmtree(repository.folder / "wine", ignore_errors=True)
            shutil.copytree(model, repository.folder / "wine")
            repository.commit()
            repository.git("tag", "--force", "v1")

        yield Origin(
            f"git+{server.url}/models@v1#wine",
            put,
            lambda there: setattr(server, "authorization", None if there else "nobody"),
        )


@pytest.mark.parametrize("made", [hub_origin, oci_origin, git_origin])
def test_a_model_is_published_by_its_version_and_workers_load_that_one(
    made: Callable[..., Iterator[Origin]],
    broker: LocalBroker,
    tmp_path: Path,
    topic_names: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    topic = ModelPublisher(KafkaSettings(broker.bootstrap_servers), topic_names("models"))
    config = {"bootstrap-servers": broker.bootstrap_servers, "models-topic": topic._topic, "record-schema": "wine"}
    (tmp_path / "serving.yaml").write_text(json.dumps(config))
    model = save_linear_model(tmp_path / "1" / "model", [1.0, 2.0])
    with made(tmp_path, monkeypatch) as origin:  # type: ignore[attr-defined]
        words = ["models", "publish", "--name", "wine", "--type", "tensorflow-saved-model", "--input", FIELDS]
        words += ["--location", origin.location, "--config", str(tmp_path / "serving.yaml")]
        origin.put(model)
        assert main([*words, "--dry-run"]) == 0
        assert "-> {" in capsys.readouterr().out
        assert main(words) == 0
        (published,) = topic.versions()
        descriptor = published.descriptor
        assert descriptor.digest == digest_of_path(model)
        assert origin.location != descriptor.model_source_location is not None
        # The tag or branch moves on, and the published version stays what it is.
        origin.put(save_linear_model(tmp_path / "2" / "model", [3.0, 4.0]))
        source = ModelSource(descriptor, None, BeamOpener())
        scorer = load_scorer(source)
        (scores,) = scorer.score({"v": np.asarray([[1.0, 10.0]], np.float32)}).outputs.values()
        np.testing.assert_array_equal(scores.ravel(), [21.0])
        scorer.close()
        # An unreachable origin is an error, which may be gone at the next attempt.
        origin.reach(False)
        with pytest.raises(ModelLoadError) as raised:
            load_scorer(source)
        assert not isinstance(raised.value, DigestMismatchError)
        assert main(words) == 1
        assert "beam-serving models: " in capsys.readouterr().err
        origin.reach(True)
        load_scorer(source).close()
        assert len(topic.versions()) == 1
