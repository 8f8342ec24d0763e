"""The table of openers, openers of other packages, and plain URLs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_pipeline.publishing.drafts import Draft, check_draft, draft_descriptor
from models.artifacts.archive import zip_folder
from models.artifacts.digest import digest_of_bytes
from models.errors import EntryPointError, HttpStatusError, ModelLoadError, PublishError
from models.locations import ENTRY_POINT_GROUP, opener_of, resolve_location
from models.locations.web import download, resolve
from models.model_topic.descriptor import ModelDescriptor
from models.scorers import load_scorer
from models.scorers.base import ModelSource
from tests.distributions import Write, distributions
from tests.models.locations.answering import Answering, answering
from tests.saved_models import save_linear_model
from transforms.file_systems import BeamOpener

STORE = """
from pathlib import Path


def resolve(location):
    return location.replace("@latest", "@7")


def download(location, folder):
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "model"
    target.write_text(location)
    return target
"""


@pytest.fixture
def server() -> Iterator[Answering]:
    with answering() as running:
        yield running


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    (tmp_path / "site").mkdir()
    with distributions(tmp_path / "site", monkeypatch) as writing:
        yield writing


def test_a_model_at_a_url_is_published_with_its_digest_and_refused_when_it_changes(
    server: Answering, tmp_path: Path
) -> None:
    content = zip_folder(save_linear_model(tmp_path / "m", [1.0, 2.0]))
    server.answers["/wine.zip"] = content
    draft = Draft("m", "tensorflow-saved-model", location=f"{server.url}/wine.zip#top", inputs={"v": ("a", "b")})
    descriptor = draft_descriptor(draft)
    assert (descriptor.model_source_location, descriptor.digest) == (
        f"{server.url}/wine.zip",
        digest_of_bytes(content),
    )
    check_draft(draft, descriptor, None)
    server.answers["/wine.zip"] = zip_folder(save_linear_model(tmp_path / "other", [1.0, 3.0]))
    with pytest.raises(PublishError, match="the digest of the fetched model"):
        check_draft(draft, descriptor, None)


def test_a_file_at_a_url_keeps_its_name(server: Answering, tmp_path: Path) -> None:
    server.answers["/a/wine%20red.onnx"] = b"1"
    assert download(f"{server.url}/a/wine%20red.onnx?v=1", tmp_path) == tmp_path / "wine red.onnx"


@pytest.mark.parametrize("path", ["/", "/a/", "/..", "/%2e%2e", "/a%2F.."])
def test_a_url_that_names_no_file_is_refused(server: Answering, tmp_path: Path, path: str) -> None:
    with pytest.raises(ModelLoadError, match="names no file"):
        download(server.url + path, tmp_path)


def test_what_a_server_does_not_give_is_an_error_with_its_url(server: Answering, tmp_path: Path) -> None:
    server.answers.update({"/forbidden": 403, "/cut": b"a model", "/moved": "/cut", "/loop": "/loop"})
    assert download(f"{server.url}/moved", tmp_path).read_bytes() == b"a model"
    for name in ("forbidden", "missing", "loop"):
        with pytest.raises(ModelLoadError, match=f"{server.url}/{name}"):
            download(f"{server.url}/{name}", tmp_path)
    server.cut = 3
    with pytest.raises(ModelLoadError, match=f"{server.url}/cut cannot be read"):
        download(f"{server.url}/cut", tmp_path)
    with pytest.raises(ModelLoadError, match=r"127\.0\.0\.1:1/m cannot be reached"):
        download("http://127.0.0.1:1/m", tmp_path)


def test_a_worker_reports_the_status_that_a_server_answered(server: Answering) -> None:
    server.answers["/forbidden.onnx"] = 403
    descriptor = ModelDescriptor("m", "onnx", 1, None, f"{server.url}/forbidden.onnx")
    with pytest.raises(HttpStatusError, match=r"model 'm' version 1: http.*/forbidden\.onnx answered 403"):
        load_scorer(ModelSource(descriptor, None, BeamOpener()))


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ModelLoadError, match="contains a user or password") as raised:
        resolve("https://me:hunter2@host/wine.zip")
    assert "hunter2" not in str(raised.value)


def test_another_package_adds_a_scheme(write: Write, tmp_path: Path) -> None:
    write("acme-store", ENTRY_POINT_GROUP, "acme", STORE)
    assert resolve_location("acme:wine@latest") == "acme:wine@7"
    assert BeamOpener().download("acme:wine@7", tmp_path).read_text() == "acme:wine@7"


def test_an_entry_point_that_is_no_opener_is_named(write: Write) -> None:
    write("acme-store", ENTRY_POINT_GROUP, "acme", "def resolve(location):\n    return location\n")
    with pytest.raises(EntryPointError, match="'acme': its entry point lacks download"):
        opener_of("acme:wine")


@pytest.mark.parametrize(
    "location", ["/models/wine", "gs://b/m", "s3://b/m", "file:///m", "odd:name", "", "grpc://h/m"]
)
def test_what_has_no_opener_is_left_as_it_is(location: str) -> None:
    assert resolve_location(location) == location
