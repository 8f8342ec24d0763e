"""Models on a Hugging Face Hub: the Hub's real client, over real HTTP, with a server that responds like the Hub."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.errors import MissingExtraError, ModelLoadError
from models.locations import opener_of
from models.locations.hugging_face_hub import (
    ENDPOINT_VARIABLE,
    TOKEN_VARIABLE,
    download,
    parse_location,
    resolve,
)
from models.secret_references import SECRETS
from tests.models.locations.hub_server import Hub, git_digest, hub
from transforms.file_systems import BeamOpener

FIRST, SECOND = "1" * 40, "2" * 40
FILES = {
    ".gitattributes": b"*.bin filter=lfs\n",
    "config.json": b"{}",
    "onnx/model one.onnx": b"graph",
    "onnx/weights.bin": bytes(range(256)) * 8192,
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with hub() as running:
        monkeypatch.setenv(ENDPOINT_VARIABLE, running.site.url)
        running.add("acme/wine", FIRST, FILES, large=("onnx/weights.bin",))
        yield running


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_branch_or_tag_becomes_the_commit_that_it_points_to(server: Hub) -> None:
    server.point("acme/wine", "main", FIRST)
    server.point("acme/wine", "refs/pr/1", SECOND)
    assert resolve("hf://acme/wine@main/onnx") == resolve("hf://acme/wine/onnx/") == f"hf://acme/wine@{FIRST}/onnx"
    assert resolve("hf://acme/wine@refs%2Fpr%2F1") == f"hf://acme/wine@{SECOND}"
    server.point("acme/wine", "main", SECOND)
    assert resolve("hf://acme/wine") == f"hf://acme/wine@{SECOND}"
    assert resolve(f"hf://acme/wine@{FIRST}") == f"hf://acme/wine@{FIRST}"


def test_the_files_are_those_of_the_commit(server: Hub, tmp_path: Path) -> None:
    copy = BeamOpener().download(f"hf://acme/wine@{FIRST}", tmp_path / "all")
    assert (copy.name, files_below(copy)) == ("wine", FILES)
    folder = download(f"hf://acme/wine@{FIRST}/onnx", tmp_path / "folder")
    assert files_below(folder) == {"model one.onnx": b"graph", "weights.bin": FILES["onnx/weights.bin"]}
    file = download(f"hf://acme/wine@{FIRST}/onnx/model%20one.onnx", tmp_path / "file")
    assert (file.name, file.read_bytes()) == ("model one.onnx", b"graph")
    with pytest.raises(ModelLoadError, match="has no files; check the path"):
        download(f"hf://acme/wine@{FIRST}/onn", tmp_path / "none")


def test_a_branch_is_never_downloaded(server: Hub, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="follows a revision"):
        download("hf://acme/wine@main", tmp_path)


def test_what_the_hub_lacks_or_refuses_is_named_with_the_remedy(server: Hub, tmp_path: Path) -> None:
    server.lack("acme/wine", "v9", "revision")
    server.lack("acme/blue", "main", "repository")
    server.lack("acme/gated", "main", "gated")
    with pytest.raises(ModelLoadError, match="acme/wine has no revision 'v9'"):
        resolve("hf://acme/wine@v9")
    with pytest.raises(ModelLoadError, match=rf"blue@main does not exist at {server.site.url}.*HF_TOKEN is not set"):
        resolve("hf://acme/blue")
    with pytest.raises(ModelLoadError, match=r"gated@main: access must be granted by its owner"):
        resolve("hf://acme/gated")
    server.site.answers[f"/acme/wine/resolve/{FIRST}/config.json"] = 403
    with pytest.raises(ModelLoadError, match=r"config\.json answered 403.*HF_TOKEN is not set"):
        download(f"hf://acme/wine@{FIRST}/config.json", tmp_path)


def test_a_hub_that_cannot_be_reached_or_is_none_is_named(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    server.site.answers["/api/models/acme/odd/revision/main"] = ["what is this"]
    server.site.answers["/api/models/acme/none/revision/main"] = {"id": "acme/none", "siblings": []}
    server.site.answers["/api/models/acme/down/revision/main"] = 500
    with pytest.raises(ModelLoadError, match=r"odd@main cannot be read from"):
        resolve("hf://acme/odd")
    with pytest.raises(ModelLoadError, match="named no commit; is it a Hugging Face Hub"):
        resolve("hf://acme/none")
    with pytest.raises(ModelLoadError, match=r"down@main: .*500"):
        resolve("hf://acme/down")
    monkeypatch.setenv(ENDPOINT_VARIABLE, "http://127.0.0.1:1")
    with pytest.raises(ModelLoadError, match=r"cannot be read from http://127\.0\.0\.1:1: ConnectError"):
        resolve("hf://acme/wine")


def test_the_token_is_that_of_the_environment_and_goes_to_the_hub_only(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.token = "s3cret"
    with pytest.raises(ModelLoadError, match="HF_TOKEN is not set"):
        resolve(f"hf://acme/wine@{FIRST}")
    reference = "secret:projects/p/secrets/hub/versions/1"
    monkeypatch.setattr(SECRETS, "_access", {reference[7:]: b"s3cret"}.__getitem__)
    monkeypatch.setenv(TOKEN_VARIABLE, reference)
    location = resolve(f"hf://acme/wine@{FIRST}")
    assert "s3cret" not in location
    assert files_below(download(location, tmp_path)) == FILES
    assert len(server.store.headers) == 1
    assert "s3cret" not in json.dumps(server.store.headers)
    monkeypatch.setenv(TOKEN_VARIABLE, "another")
    with pytest.raises(ModelLoadError, match="HF_TOKEN has no access"):
        resolve(location)


def test_a_token_in_a_file_of_the_hubs_tools_is_not_sent(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("s3cret")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    download(resolve(f"hf://acme/wine@{FIRST}"), tmp_path)
    assert server.site.headers
    assert "s3cret" not in json.dumps(server.site.headers)


def listing(path: str, content: bytes = b"{}", **changed: object) -> Callable[[Hub], None]:
    entry = {"type": "file", "path": path, "size": len(content), "oid": git_digest(content), **changed}
    return lambda server: server.list("acme/wine", FIRST, [entry])


def large(digest: str) -> Callable[[Hub], None]:
    content = FILES["onnx/weights.bin"]
    lfs = {"oid": digest, "size": len(content), "pointerSize": 130}
    return listing("onnx/weights.bin", content, lfs=lfs)


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (listing("../../etc/passwd"), "leads outside"),
        (listing("/etc/passwd"), "leads outside"),
        (listing("a/../../b"), "leads outside"),
        (listing("a\\b"), "leads outside"),
        (listing("config.json", size=1), "more than the 1 bytes that were announced"),
        (listing("config.json", size=3), "2 bytes instead of the 3 that were announced"),
        (listing("config.json", oid="0" * 40), r"the digest of 'config\.json' is"),
        (large("0" * 64), r"the digest of 'onnx/weights\.bin' is"),
        (listing("absent.json"), r"absent\.json answered 404"),
        (lambda server: server.list("acme/wine", FIRST, []), "has no files"),
        (lambda server: server.list("acme/wine", FIRST, [{"type": "file"}]), "cannot be read from"),
        (lambda server: setattr(server.store, "cut", 5), "cannot be read"),
    ],
)
def test_a_hub_that_lies_is_refused(server: Hub, tmp_path: Path, lie: Callable[[Hub], None], reason: str) -> None:
    lie(server)
    with pytest.raises(ModelLoadError, match=reason):
        download(f"hf://acme/wine@{FIRST}", tmp_path / "a" / "b" / "c")
    assert {path.name for path in tmp_path.rglob("*")} <= {"a", "b", "c", "wine", *_names()}


def _names() -> set[str]:
    return {part for name in FILES for part in name.split("/")}


@pytest.mark.parametrize(
    "location",
    ["hf://wine", "hf://acme/", "hf://acme/wine@", "hf://acme/wine@main@v1", "hf://acme/wine@v1/../x", "hf://a--b/c"],
)
def test_malformed_locations_are_refused(server: Hub, location: str) -> None:
    with pytest.raises(ModelLoadError):
        resolve(location)


def test_a_location_is_read_as_it_is_written() -> None:
    location = "hf://acme/wine@refs%2Fpr%2F1/a%20b/c.onnx"
    assert str(parse_location(location)) == location
    assert parse_location(location).revision == "refs/pr/1"


def test_the_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "models.locations.hugging_face_hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as an import finds it that is not installed
    with pytest.raises(MissingExtraError, match=r"huggingface_hub.* install beam-serving\[huggingface\]"):
        opener_of("hf://acme/wine")
