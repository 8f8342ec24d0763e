"""The opener for Beam's file systems; an object store that Beam finds by its scheme stands for remote ones."""

from __future__ import annotations

import gzip
import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata, FileSystem
from apache_beam.io.filesystems import FileSystems

from models.errors import ModelLoadError
from transforms.file_systems import BeamOpener


class ObjectStore(FileSystem):
    """Objects by name, without folders, as in gs and s3. `match` is Beam's own."""

    objects: ClassVar[dict[str, bytes]] = {}
    refusal: ClassVar[str | None] = None

    @classmethod
    def scheme(cls) -> str:
        return "objects"

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        if self.refusal:
            raise BeamIOError(self.refusal)
        for name, content in self.objects.items():
            if name.startswith(dir_or_prefix):
                yield FileMetadata(name, len(content))

    def exists(self, path: str) -> bool:
        if self.refusal:
            raise BeamIOError(self.refusal)
        return path in self.objects

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, len(self.objects[path]))

    def open(self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO) -> Any:
        assert compression_type == CompressionTypes.UNCOMPRESSED
        return io.BytesIO(self.objects[path])

    def join(self, basepath: str, *paths: str) -> str:
        raise NotImplementedError

    def split(self, path: str) -> tuple[str, str]:
        raise NotImplementedError

    def mkdirs(self, path: str) -> None:
        raise NotImplementedError

    def create(self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO) -> Any:
        raise NotImplementedError

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        raise NotImplementedError

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        raise NotImplementedError

    def size(self, path: str) -> int:
        raise NotImplementedError

    def last_updated(self, path: str) -> float:
        raise NotImplementedError

    def checksum(self, path: str) -> str:
        raise NotImplementedError

    def delete(self, paths: list[str]) -> None:
        raise NotImplementedError


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> type[ObjectStore]:
    monkeypatch.setattr(ObjectStore, "objects", {})
    monkeypatch.setattr(ObjectStore, "refusal", None)
    return ObjectStore


@pytest.mark.parametrize("end", ["", "/"])
def test_a_folder_is_copied_with_its_structure(tmp_path: Path, store: type[ObjectStore], end: str) -> None:
    store.objects.update(
        {
            "objects://b/models/1/": b"",
            "objects://b/models/1/saved_model.pb": b"1",
            "objects://b/models/1/variables/": b"",
            "objects://b/models/1/variables/v": b"2",
            "objects://b/models/10/saved_model.pb": b"another model",
        }
    )
    copy = BeamOpener().download(f"objects://b/models/1{end}", tmp_path)
    assert copy == tmp_path / "1"
    files = {path.relative_to(copy).as_posix(): path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert files == {"saved_model.pb": b"1", "variables/v": b"2"}


@pytest.mark.parametrize("name", ["model.zip", "m[1]?*.zip"])
def test_a_file_is_copied(tmp_path: Path, store: type[ObjectStore], name: str) -> None:
    store.objects.update({f"objects://b/{name}": b"zip", "objects://b/m1xx.zip": b"another"})
    copy = BeamOpener().download(f"objects://b/{name}", tmp_path)
    assert copy == tmp_path / name
    assert copy.read_bytes() == b"zip"


def test_files_that_look_compressed_are_copied_unchanged(tmp_path: Path, store: type[ObjectStore]) -> None:
    content = gzip.compress(b"words")
    store.objects.update({"objects://b/m/saved_model.pb": b"1", "objects://b/m/assets/words.gz": content})
    assert (BeamOpener().download("objects://b/m", tmp_path) / "assets" / "words.gz").read_bytes() == content


def test_names_that_lead_outside_are_refused(tmp_path: Path, store: type[ObjectStore]) -> None:
    store.objects["objects://b/m/../../evil"] = b"evil"
    with pytest.raises(ModelLoadError, match=r"objects://b/m.*outside"):
        BeamOpener().download("objects://b/m", tmp_path / "out")


def test_the_error_for_a_missing_location_names_it(tmp_path: Path, store: type[ObjectStore]) -> None:
    with pytest.raises(ModelLoadError, match=r"'objects://b/m': nothing was found.*check the name"):
        BeamOpener().download("objects://b/m", tmp_path)


def test_the_error_of_a_file_system_is_passed_on_in_one_line(tmp_path: Path, store: type[ObjectStore]) -> None:
    store.refusal = "403\nno permission"
    with pytest.raises(ModelLoadError, match=r"'objects://b/m' cannot be read: .*403.no permission"):
        BeamOpener().download("objects://b/m", tmp_path)


def test_the_error_for_an_unknown_scheme_names_it_and_the_supported_ones(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"'ftp://host/m' cannot be read.*file, azfs, gs, hdfs, s3"):
        BeamOpener().download("ftp://host/m", tmp_path)


@pytest.mark.parametrize(("scheme", "remedy"), [("s3", r"beam-serving\[aws\]"), ("azfs", r"apache-beam\[azure\]")])
def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, remedy: str) -> None:
    # Beam finds file systems among the classes that were imported: this is what it sees without the extra.
    monkeypatch.setattr(FileSystem, "get_all_subclasses", classmethod(lambda cls: [ObjectStore]))
    with pytest.raises(ModelLoadError, match=rf"'{scheme}://b/m' cannot be read.*{remedy}"):
        BeamOpener().download(f"{scheme}://b/m", tmp_path)


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_local_locations_are_copied(tmp_path: Path, form: str) -> None:
    (tmp_path / "model" / "variables").mkdir(parents=True)
    (tmp_path / "model" / "variables" / "v").write_bytes(b"2")
    copy = BeamOpener().download(form.format(tmp_path / "model"), tmp_path / "out")
    assert (copy / "variables" / "v").read_bytes() == b"2"


def test_it_pickles_small() -> None:
    assert pickle.loads(pickle.dumps(BeamOpener())) == BeamOpener()
    assert len(pickle.dumps(BeamOpener())) < 100


def test_beam_itself_finds_the_object_store() -> None:
    assert isinstance(FileSystems.get_filesystem("objects://b/m"), ObjectStore)
