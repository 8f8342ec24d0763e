"""Models in the registry of a real MLflow server, and of a server that lies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from models.artifacts.digest import digest_of_path
from models.errors import ModelLoadError, SecretUnavailableError
from models.locations.mlflow_registry import SERVER_VARIABLE, download, parse_location, resolve
from models.model_topic.descriptor import ModelDescriptor
from models.scorers import load_scorer
from models.scorers.base import ModelSource
from models.secret_references import SECRETS
from tests.mlflow_server import MlflowServer, running
from tests.models.locations.answering import Answering, answering
from tests.models.scorers.learned import rows_of, training
from transforms.file_systems import BeamOpener

WIDE = rows_of(1_000).astype(np.float64)


def trained(seed: int) -> Any:
    return LogisticRegression().fit(*training(seed))


@pytest.fixture(scope="module")
def registered(mlflow_server: MlflowServer) -> MlflowServer:
    """A model with two versions, of which the first is the champion."""
    for seed in (1, 2):
        mlflow_server.log("red wine", trained(seed), WIDE)
    mlflow_server.point("red wine", "champion", "1")
    return mlflow_server


def test_an_alias_becomes_the_version_that_it_points_to(
    registered: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SERVER_VARIABLE, registered.url)
    resolved = resolve("mlflow:models:/red wine@champion")
    assert resolved == f"mlflow+{registered.url}/models:/red%20wine/1"
    registered.point("red wine", "champion", "2")
    assert resolve("mlflow:models:/red wine@champion").endswith("/2")
    registered.point("red wine", "champion", "1")
    assert resolve(resolved) == resolve("models:/red wine/1") == resolve("mlflow:models:/red wine/1") == resolved


def test_the_files_are_those_that_mlflow_downloads(registered: MlflowServer, tmp_path: Path) -> None:
    copy = download(f"mlflow+{registered.url}/models:/red%20wine/2", tmp_path / "ours")
    mlflow.set_registry_uri(registered.url)
    theirs = mlflow.artifacts.download_artifacts("models:/red wine/2", dst_path=str(tmp_path / "theirs"))
    (Path(theirs) / "registered_model_meta").unlink(missing_ok=True)  # MLflow's client writes it beside the model
    assert digest_of_path(copy) == digest_of_path(Path(theirs))


def test_a_worker_scores_what_the_registry_has(registered: MlflowServer) -> None:
    descriptor = ModelDescriptor("m", "mlflow", 1, None, f"mlflow+{registered.url}/models:/red%20wine/2")
    scorer = load_scorer(ModelSource(descriptor, None, BeamOpener()))
    np.testing.assert_array_equal(scorer.score({"X": WIDE}).outputs["probabilities"], trained(2).predict_proba(WIDE))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("red%20wine@challenger", r"answered 40\d: .*challenger"),
        ("red%20wine/9", r"answered 40\d: .*version"),
        ("blue%20wine/1", r"answered 40\d: .*blue wine"),
        ("red%20wine", "is not mlflow:models:/NAME@ALIAS"),
        ("red%20wine/latest", "is not mlflow:models:/NAME@ALIAS"),
        ("a/b/1", "is not mlflow:models:/NAME@ALIAS"),
    ],
)
def test_what_the_registry_lacks_is_named(registered: MlflowServer, model: str, reason: str) -> None:
    with pytest.raises(ModelLoadError, match=reason):
        resolve(f"mlflow+{registered.url}/models:/{model}")


def test_a_location_without_a_server_needs_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SERVER_VARIABLE, raising=False)
    with pytest.raises(ModelLoadError, match=SERVER_VARIABLE):
        resolve("mlflow:models:/wine@champion")


@pytest.mark.parametrize("server", ["http://me:secret@host", "ftp://host", "http://", "http://host:port"])
def test_servers_that_are_malformed_or_have_a_password_are_refused(server: str) -> None:
    with pytest.raises(ModelLoadError) as raised:
        parse_location(f"mlflow+{server}/models:/wine/1")
    if "secret" in server:
        assert "secret" not in str(raised.value)


def test_an_alias_is_never_downloaded(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="follows an alias"):
        download("mlflow+http://127.0.0.1:1/models:/wine@champion", tmp_path)


@pytest.fixture
def liar() -> Iterator[Answering]:
    with answering() as server:
        server.answers["/api/2.0/mlflow/model-versions/get"] = {"model_version": {"version": "1"}}
        server.answers["/api/2.0/mlflow/model-versions/get-download-uri"] = {"artifact_uri": "mlflow-artifacts:/0/m"}
        server.answers["/api/2.0/mlflow-artifacts/artifacts"] = {"files": [{"path": "MLmodel", "is_dir": False}]}
        server.answers["/api/2.0/mlflow-artifacts/artifacts/0/m/MLmodel"] = {}
        yield server


def _listing(path: str, folder: bool = False) -> Callable[[Answering], None]:
    answer = {"files": [{"path": path, "is_dir": folder}]}
    return lambda server: server.answers.update({"/api/2.0/mlflow-artifacts/artifacts": answer})


def _store(uri: Any) -> Callable[[Answering], None]:
    return lambda server: server.answers.update(
        {"/api/2.0/mlflow/model-versions/get-download-uri": {"artifact_uri": uri}}
    )


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (_listing("../../etc/passwd"), "leads outside"),
        (_listing("/etc/passwd"), "leads outside"),
        (_listing("again", folder=True), "nested too deeply"),
        (
            lambda server: server.answers.update({"/api/2.0/mlflow-artifacts/artifacts": {"files": [7]}}),
            "cannot be read",
        ),
        (lambda server: server.answers.update({"/api/2.0/mlflow-artifacts/artifacts": {}}), "has no files"),
        (_store("/home/mlflow/1"), "a folder of the server's machine"),
        (_store("mlflow-artifacts:/../secrets"), "leads outside"),
        (_store("s3://elsewhere/m"), "is now in s3://elsewhere/m"),
        (_store(7), "does not say where its files are"),
    ],
)
def test_a_server_that_lies_is_refused(
    liar: Answering, tmp_path: Path, lie: Callable[[Answering], None], reason: str
) -> None:
    location = f"mlflow+{liar.url}/models:/wine/1"
    assert sorted(path.name for path in download(location, tmp_path / "honest").iterdir()) == ["MLmodel"]
    lie(liar)
    with pytest.raises(ModelLoadError, match=reason):
        download(location, tmp_path / "lying")
    assert not (tmp_path / "lying").exists()


def test_a_model_in_a_store_that_beam_reads_is_published_from_there(liar: Answering) -> None:
    _store("s3://bucket/0/m")(liar)
    assert resolve(f"mlflow+{liar.url}/models:/wine/1") == "s3://bucket/0/m"


def test_a_version_that_is_not_ready_is_refused(liar: Answering) -> None:
    version = {"version": "1", "status": "PENDING_REGISTRATION"}
    liar.answers["/api/2.0/mlflow/model-versions/get"] = {"model_version": version}
    with pytest.raises(ModelLoadError, match="is not ready: PENDING_REGISTRATION"):
        resolve(f"mlflow+{liar.url}/models:/wine/1")


def test_the_token_goes_to_the_server_of_the_environment_only(liar: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "s3cret")
    monkeypatch.setenv(SERVER_VARIABLE, "http://127.0.0.1:1")
    resolve(f"mlflow+{liar.url}/models:/wine/1")
    assert "s3cret" not in json.dumps(liar.headers)
    monkeypatch.setenv(SERVER_VARIABLE, f"{liar.url}/")
    resolve("mlflow:models:/wine/1")
    assert liar.headers[-1]["Authorization"] == "Bearer s3cret"


TOKEN, USER, PASSWORD = (
    f"secret:projects/p/secrets/mlflow-{name}/versions/1" for name in ("token", "user", "password")
)


def test_a_token_may_be_a_reference_to_a_secret(liar: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SECRETS, "_access", {TOKEN[7:]: b"s3cret"}.__getitem__)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    monkeypatch.setenv(SERVER_VARIABLE, liar.url)
    resolve("mlflow:models:/wine/1")
    assert liar.headers[-1]["Authorization"] == "Bearer s3cret"
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", USER)
    with pytest.raises(SecretUnavailableError, match="'projects/p/secrets/mlflow-user/versions/1' cannot be read"):
        resolve("mlflow:models:/wine/1")


def test_a_server_with_passwords_is_read_with_references_to_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, password = "anna", "7 words: a pass"
    secrets = {USER[7:]: user.encode(), PASSWORD[7:]: password.encode()}
    monkeypatch.setattr(SECRETS, "_access", secrets.__getitem__)
    with running(tmp_path, with_passwords=True) as server:
        with monkeypatch.context() as plain:  # MLflow's own client knows no references
            plain.setenv("MLFLOW_TRACKING_USERNAME", server.USER)
            plain.setenv("MLFLOW_TRACKING_PASSWORD", server.PASSWORD)
            server.log("wine", trained(1), WIDE)
            server.point("wine", "champion", "1")
        server.add_user(user, password)
        monkeypatch.setenv(SERVER_VARIABLE, server.url)
        with pytest.raises(ModelLoadError, match="answered 401: You are not authenticated"):
            resolve("mlflow:models:/wine@champion")
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        location = resolve("mlflow:models:/wine@champion")
        assert location == f"mlflow+{server.url}/models:/wine/1"
        assert "MLmodel" in {path.name for path in download(location, tmp_path / "copy").iterdir()}
