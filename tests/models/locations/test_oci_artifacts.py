"""OCI artifacts pushed by ORAS's own client, images like KServe's ModelCars, and registries that lie."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import oras.client
import pytest

from models.errors import ModelLoadError, SecretUnavailableError
from models.locations import oci_registry
from models.locations.oci_artifacts import TITLE, UNPACK, download, parse_location, resolve
from models.locations.oci_registry import CREDENTIALS_VARIABLE, INDEX_TYPES, OciRepository, registry_credentials
from models.secret_references import SECRETS
from tests.models.locations.answering import answering
from tests.models.locations.registry_server import MANIFEST, Registry, any_registry, registry, upload, upload_manifest
from transforms.file_systems import BeamOpener

FILE = "application/octet-stream"
TAR, TAR_GZIP = "application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": f"sha256:{'0' * 64}", "size": 2}
IMAGE = {"mediaType": "application/vnd.oci.image.config.v1+json"}


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CREDENTIALS_VARIABLE, raising=False)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host of a registry, which is a real one if the environment names one."""
    with any_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def small() -> Iterator[Registry]:
    with registry() as running:
        yield running


def push(host: str, name: str, *files: Path | str) -> str:
    """Pushes files with ORAS's client; returns the location with the tag."""
    client = oras.client.OrasClient(hostname=host, insecure=True)
    target = f"{host}/{name}:v1"
    client.push(target=target, files=[str(file) for file in files], disable_path_validation=True, quiet=True)
    return f"oci+http://{target}"


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tar(files: dict[str, bytes | tarfile.TarInfo], mode: str = "w:gz") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:  # type: ignore[call-overload]
        for name, file in files.items():
            if isinstance(file, tarfile.TarInfo):
                file.name = name
                archive.addfile(file)
                continue
            entry = tarfile.TarInfo(name)
            entry.size = len(file)
            archive.addfile(entry, io.BytesIO(file))
    return content.getvalue()


def publish(host: str, name: str, *layers: tuple[bytes, str, dict[str, str]], config: dict[str, Any] = EMPTY) -> str:
    """Pushes layers by hand; returns the location with the digest."""
    described = [{"mediaType": kind, **upload(host, name, blob), "annotations": notes} for blob, kind, notes in layers]
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": {**config, **upload(host, name, b"{}")}}
    return f"oci+http://{host}/{name}@{upload_manifest(host, name, 'v1', {**manifest, 'layers': described})}"


def test_a_file_that_oras_has_pushed_is_the_model(host: str, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(bytes(range(256)) * 8192)
    location = push(host, "team/wine", f"{model}:{FILE}")
    resolved = resolve(location)
    assert resolved.startswith(f"oci+http://{host}/team/wine@sha256:")
    copy = BeamOpener().download(resolved, tmp_path / "copy")
    assert (copy.name, copy.read_bytes()) == ("model.onnx", model.read_bytes())


def test_a_tag_that_moves_on_changes_nothing(host: str, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"1")
    location = push(host, "moving", f"{model}:{FILE}")
    first = resolve(location)
    model.write_bytes(b"2")
    push(host, "moving", f"{model}:{FILE}")
    assert resolve(location) != first == resolve(first) == resolve(first.replace("@", ":v1@"))
    assert download(first, tmp_path / "first").read_bytes() == b"1"
    assert download(resolve(location), tmp_path / "second").read_bytes() == b"2"


def test_several_files_and_a_folder_that_oras_has_pushed_are_a_folder(host: str, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.bin").write_bytes(b"a")
    (tmp_path / "config.json").write_bytes(b"{}")
    (tmp_path / "kept.tar.gz").write_bytes(tar({"x": b"1"}))
    files = (f"{tmp_path}/config.json:{FILE}", f"{tmp_path}/kept.tar.gz:{FILE}", folder)
    copy = download(resolve(push(host, "several", *files)), tmp_path / "copy")
    assert files_below(copy) == {
        "config.json": b"{}",
        "kept.tar.gz": (tmp_path / "kept.tar.gz").read_bytes(),
        "weights/deep/a.bin": b"a",
    }
    only = download(resolve(push(host, "folder", folder)), tmp_path / "only")
    assert (only.name, files_below(only)) == ("weights", {"deep/a.bin": b"a"})


def test_layers_are_what_their_annotations_say(host: str, tmp_path: Path) -> None:
    # ORAS's program labels a file with that type by default, and adds the annotation to a folder.
    file = publish(host, "typed", (b"plain", TAR, {TITLE: "model.txt"}))
    assert download(file, tmp_path / "file").read_bytes() == b"plain"
    folder = publish(host, "typed", (tar({"m/a": b"1"}), "application/x-model", {TITLE: "m", UNPACK: "true"}))
    assert files_below(download(folder, tmp_path / "folder")) == {"a": b"1"}
    untitled = publish(host, "typed", (tar({"./a": b"1", "b/c": b"2"}, "w"), TAR, {}), (tar({"d": b"3"}), TAR_GZIP, {}))
    assert files_below(download(untitled, tmp_path / "untitled")) == {"a": b"1", "b/c": b"2", "d": b"3"}


def test_the_folder_models_of_an_image_is_the_model(host: str, tmp_path: Path) -> None:
    link = tarfile.TarInfo()
    link.type, link.linkname = tarfile.SYMTYPE, "/bin/busybox"
    base = tar({"bin/sh": link, "bin/busybox": b"elf", "etc/.wh.passwd": b""})
    model = tar({"models/1/saved_model.pb": b"old", "models/1/variables/v": b"2"})
    patch = tar({"models/1/saved_model.pb": b"graph"})
    car = publish(host, "car", *((blob, TAR_GZIP, {}) for blob in (base, model, patch)), config=IMAGE)
    copy = download(car, tmp_path / "copy")
    assert (copy.name, files_below(copy)) == ("1", {"saved_model.pb": b"graph", "variables/v": b"2"})
    with pytest.raises(ModelLoadError, match="no folder 'models'"):
        download(publish(host, "car", (base, TAR_GZIP, {}), config=IMAGE), tmp_path / "none")
    deleting = publish(host, "car", (model, TAR_GZIP, {}), (tar({"models/.wh.1": b""}), TAR_GZIP, {}), config=IMAGE)
    with pytest.raises(ModelLoadError, match="deletes a file of another layer"):
        download(deleting, tmp_path / "deleting")


def test_an_index_of_one_image_is_that_image(host: str, tmp_path: Path) -> None:
    car = publish(host, "multi", (tar({"models/m": b"1"}), TAR_GZIP, {}), config=IMAGE)
    other = publish(host, "multi", (tar({"models/m": b"2"}), TAR_GZIP, {}), config=IMAGE)
    listed = [
        {"mediaType": MANIFEST, "digest": one.rpartition("@")[2], "size": _size(host, one)} for one in (car, other)
    ]
    attested = {**listed[1], "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPES[0]}
    upload_manifest(host, "multi", "one", {**index, "manifests": [listed[0], attested]}, INDEX_TYPES[0])
    assert resolve(f"oci+http://{host}/multi:one") == car
    upload_manifest(host, "multi", "two", {**index, "manifests": listed}, INDEX_TYPES[0])
    with pytest.raises(ModelLoadError, match=f"index of several artifacts; name the digest .*{listed[1]['digest']}"):
        resolve(f"oci+http://{host}/multi:two")


def _size(host: str, location: str) -> int:
    from urllib.request import Request, urlopen

    name, digest = location.removeprefix(f"oci+http://{host}/").split("@")
    with urlopen(Request(f"http://{host}/v2/{name}/manifests/{digest}", headers={"Accept": MANIFEST})) as answer:
        return len(answer.read())


def test_what_a_registry_lacks_is_named(host: str, tmp_path: Path) -> None:
    location = publish(host, "here", (b"1", FILE, {TITLE: "m"}))
    with pytest.raises(ModelLoadError, match=r"/v2/here/manifests/v9 answered 404: .*unknown"):
        resolve(f"oci+http://{host}/here:v9")
    with pytest.raises(ModelLoadError, match=r"/v2/absent/manifests/latest answered 404"):
        resolve(f"oci+http://{host}/absent")
    with pytest.raises(ModelLoadError, match=r"127\.0\.0\.1:1/v2/m/manifests/v1 cannot be reached"):
        resolve("oci+http://127.0.0.1:1/m:v1")
    with pytest.raises(ModelLoadError, match="follows a tag"):
        download(location.replace(location[location.index("@") :], ":v1"), tmp_path)
    with pytest.raises(ModelLoadError, match=r"no title; push it with the annotation"):
        resolve(publish(host, "here", (b"1", FILE, {})))


def _changed(**changes: Any) -> Callable[[Registry, dict[str, Any]], None]:
    def change(small: Registry, manifest: dict[str, Any]) -> None:
        manifest["layers"][0].update(changes)

    return change


def _blob(content: bytes) -> Callable[[Registry, dict[str, Any]], None]:
    return lambda small, manifest: small.blobs.update({manifest["layers"][0]["digest"]: content})


def _layers(layers: Any) -> Callable[[Registry, dict[str, Any]], None]:
    return lambda small, manifest: manifest.update(layers=layers)


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (_blob(b"modeL"), "returned a blob with the digest"),
        (_blob(b"model and more"), "more than the 5 bytes that were announced"),
        (_blob(b"mod"), "3 bytes instead of the 5 that were announced"),
        (lambda small, manifest: small.blobs.clear(), "answered 404: .*blob unknown"),
        (_changed(size=-1), "cannot be read"),
        (_changed(size="5"), "cannot be read"),
        (_changed(digest="sha256:../../../x"), "is not a digest"),
        (_changed(digest="md5:00"), "is not a digest"),
        (_changed(annotations=7), "cannot be read"),
        (_changed(annotations={TITLE: "../../evil"}), "leads outside"),
        (_changed(annotations={TITLE: "/evil"}), "leads outside"),
        (_changed(annotations={TITLE: "evil", UNPACK: "true"}), "the tar file cannot be read"),
        (_layers([]), "has no layers"),
        (_layers([7]), "cannot be read"),
        (_layers(None), "cannot be read"),
    ],
)
def test_a_registry_that_lies_is_refused(
    small: Registry, tmp_path: Path, lie: Callable[[Registry, dict[str, Any]], None], reason: str
) -> None:
    layer = {"mediaType": FILE, **small.put_blob(b"model"), "annotations": {TITLE: "m"}}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": EMPTY, "layers": [layer]}
    location = f"oci+http://{small.host}/m@{small.put_manifest('m', 'v1', manifest)}"
    assert download(location, tmp_path / "honest").read_bytes() == b"model"
    lie(small, manifest)
    location = f"oci+http://{small.host}/m@{small.put_manifest('m', 'v1', manifest)}"
    with pytest.raises(ModelLoadError, match=reason):
        download(location, tmp_path / "a" / "b" / "c")
    assert not list(tmp_path.rglob("*evil*"))


def test_a_manifest_must_have_the_digest_that_was_asked_for(small: Registry, tmp_path: Path) -> None:
    small.put_manifest("m", "v1", {"layers": []})
    digest = f"sha256:{'1' * 64}"
    small.manifests["m", digest] = small.manifests["m", "v1"]
    with pytest.raises(ModelLoadError, match="returned a manifest with the digest sha256:"):
        download(f"oci+http://{small.host}/m@{digest}", tmp_path)
    for content in (b"<html>", b"[]", b'"text"'):
        small.put_manifest("m", "v1", content)
        with pytest.raises(ModelLoadError, match=r"did not return JSON|returned no manifest"):
            resolve(f"oci+http://{small.host}/m:v1")


@pytest.fixture
def guarded(small: Registry, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry with one model, and its credentials in the environment."""
    layer = {"mediaType": FILE, **small.put_blob(b"model"), "annotations": {TITLE: "m"}}
    small.put_manifest("m", "v1", {"config": EMPTY, "layers": [layer]})
    encoded = base64.b64encode(b"me:hunter2").decode()
    monkeypatch.setenv(CREDENTIALS_VARIABLE, json.dumps({"auths": {small.host: {"auth": encoded}}}))
    return small


BASIC = f"Basic {base64.b64encode(b'me:hunter2').decode()}"


def test_credentials_of_the_environment_answer_a_registry_that_asks(guarded: Registry, tmp_path: Path) -> None:
    guarded.challenge, guarded.authorization = 'Basic realm="registry"', BASIC
    assert download(resolve(f"oci+http://{guarded.host}/m:v1"), tmp_path).read_bytes() == b"model"


def test_a_token_is_asked_for_with_the_credentials(guarded: Registry, tmp_path: Path) -> None:
    guarded.challenge = f'Bearer realm="http://{guarded.host}/token",service="here",scope="repository:m:pull"'
    guarded.authorization, guarded.tokens = "Bearer t0ken", {"token": "t0ken"}
    assert download(resolve(f"oci+http://{guarded.host}/m:v1"), tmp_path).read_bytes() == b"model"
    (path, headers) = next(request for request in guarded.headers if request[0].startswith("/token"))
    assert path == "/token?scope=repository%3Am%3Apull&service=here"
    assert headers["Authorization"] == BASIC
    assert {headers.get("Authorization") for path, headers in guarded.headers if "token" not in path} == {
        None,
        "Bearer t0ken",
    }


@pytest.mark.parametrize("answer", [[], {}, {"token": 7}])
def test_a_server_of_tokens_without_one_is_named(guarded: Registry, answer: Any) -> None:
    guarded.challenge, guarded.tokens = f'Bearer realm="http://{guarded.host}/token"', answer
    guarded.authorization = "Bearer t0ken"
    with pytest.raises(ModelLoadError, match="/token returned no token"):
        resolve(f"oci+http://{guarded.host}/m:v1")


def test_credentials_go_to_no_other_registry_or_store(
    guarded: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded.challenge, guarded.authorization = 'Basic realm="registry"', BASIC
    location = resolve(f"oci+http://{guarded.host}/m:v1")
    with answering() as store:
        store.answers.update({f"/{digest}": content for digest, content in guarded.blobs.items()})
        guarded.redirection = store.url
        assert download(location, tmp_path).read_bytes() == b"model"
        assert [headers.get("Authorization") for headers in store.headers] == [None]
    monkeypatch.setenv(CREDENTIALS_VARIABLE, json.dumps({"auths": {"elsewhere": {"auth": BASIC[6:]}}}))
    guarded.headers.clear()
    with pytest.raises(ModelLoadError, match=f"answered 401.*{CREDENTIALS_VARIABLE} has credentials of {guarded.host}"):
        resolve(location)
    assert "Authorization" not in json.dumps(guarded.headers)


def test_credentials_are_not_sent_in_plain_text(guarded: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    guarded.challenge, guarded.authorization = 'Basic realm="registry"', BASIC
    monkeypatch.setattr(oci_registry, "_THIS_MACHINE", ())
    with pytest.raises(ModelLoadError, match="which are only sent over https"):
        resolve(f"oci+http://{guarded.host}/m:v1")
    assert "Authorization" not in json.dumps(guarded.headers)
    # A registry with TLS whose server of tokens has none.
    with pytest.raises(ModelLoadError, match="gives tokens at http://elsewhere/token, which is not encrypted"):
        OciRepository(guarded.host, "m", "https")._proof('Bearer realm="http://elsewhere/token"')


def test_credentials_of_docker_hub_have_the_name_that_docker_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    auths = {"https://index.docker.io/v1/": {"auth": BASIC[6:]}, "empty.example.com": {"auth": "no base64"}}
    monkeypatch.setenv(CREDENTIALS_VARIABLE, json.dumps({"auths": auths}))
    assert registry_credentials("docker.io") == "me:hunter2"
    assert registry_credentials("registry.example.com") is None
    with pytest.raises(ModelLoadError, match="is not JSON such as"):
        registry_credentials("empty.example.com")


def test_credentials_may_be_a_secret_and_are_not_repeated_in_errors(
    guarded: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded.challenge, guarded.authorization = 'Basic realm="registry"', BASIC
    secrets = {
        "projects/p/secrets/oci/versions/1": json.dumps(
            {"auths": {guarded.host: {"username": "me", "password": "hunter2"}}}
        ).encode(),
        "projects/p/secrets/oci/versions/2": b'{"auths": {"hunter2',
    }
    monkeypatch.setattr(SECRETS, "_access", secrets.__getitem__)
    monkeypatch.setenv(CREDENTIALS_VARIABLE, "secret:projects/p/secrets/oci/versions/1")
    resolve(f"oci+http://{guarded.host}/m:v1")
    monkeypatch.setenv(CREDENTIALS_VARIABLE, "secret:projects/p/secrets/oci/versions/2")
    with pytest.raises(ModelLoadError, match="is not JSON such as") as raised:
        resolve(f"oci+http://{guarded.host}/m:v1")
    assert "hunter2" not in str(raised.value)
    monkeypatch.setenv(CREDENTIALS_VARIABLE, "secret:projects/p/secrets/oci/versions/3")
    with pytest.raises(SecretUnavailableError):
        resolve(f"oci+http://{guarded.host}/m:v1")


@pytest.mark.parametrize(
    "location",
    [
        "oci://registry.example.com",
        "oci:///wine:v1",
        "oci://me:hunter2@host/wine:v1",
        "oci://host/Wine:v1",
        "oci://host/../wine:v1",
        "oci://host/wine:v1/../x",
        "oci://host/wine:-v1",
        "oci://host/wine@sha512:00",
        "oci://host/wine@sha256:00",
        "oci://host:port/wine",
        "oci://host:99999/wine",
    ],
)
def test_malformed_locations_are_refused(location: str) -> None:
    with pytest.raises(ModelLoadError):
        resolve(location)


def test_a_location_without_a_tag_means_the_latest() -> None:
    assert str(parse_location("oci://registry.example.com:5000/team/wine")).endswith(":5000/team/wine:latest")
