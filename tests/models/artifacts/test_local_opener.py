from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from models.artifacts.local_opener import LocalOpener, local_path, scheme_of
from models.errors import ModelLoadError


def model(folder: Path) -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"1")
    (folder / "variables" / "v").write_bytes(b"2")
    return folder


@pytest.mark.parametrize("form", ["{}", "{}/", "file://{}", "file://localhost{}"])
def test_a_folder_is_copied_completely(tmp_path: Path, form: str) -> None:
    source = model(tmp_path / "a model")
    copy = LocalOpener().download(form.format(source), tmp_path / "out")
    assert copy == tmp_path / "out" / "a model"
    assert (copy / "variables" / "v").read_bytes() == b"2"


def test_a_uri_is_unquoted(tmp_path: Path) -> None:
    source = model(tmp_path / "a model é")
    assert LocalOpener().download(source.as_uri(), tmp_path / "out").name == "a model é"


def test_a_file_is_copied(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(b"zip")
    copy = LocalOpener().download(str(tmp_path / "model.zip"), tmp_path / "out" / "deeper")
    assert copy == tmp_path / "out" / "deeper" / "model.zip"
    assert copy.read_bytes() == b"zip"


def test_the_copy_stays_when_the_source_is_written_again(tmp_path: Path) -> None:
    source = model(tmp_path / "model")
    copy = LocalOpener().download(str(source), tmp_path / "out")
    (source / "saved_model.pb").write_bytes(b"another")
    assert (copy / "saved_model.pb").read_bytes() == b"1"


def test_links_are_followed(tmp_path: Path) -> None:
    source = model(tmp_path / "..2026")
    (tmp_path / "mounted").symlink_to(source)
    copy = LocalOpener().download(str(tmp_path / "mounted"), tmp_path / "out")
    assert copy.name == "mounted"
    assert not copy.is_symlink()
    assert (copy / "saved_model.pb").read_bytes() == b"1"


def test_the_error_for_a_missing_location_names_it(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="not-there"):
        LocalOpener().download(str(tmp_path / "not-there"), tmp_path / "out")


@pytest.mark.parametrize("location", ["gs://bucket/model", "file://elsewhere/model", "s3://b/m"])
def test_other_machines_are_refused(tmp_path: Path, location: str) -> None:
    with pytest.raises(ModelLoadError, match="not on this machine"):
        LocalOpener().download(location, tmp_path)


def test_schemes() -> None:
    assert scheme_of("GS://b/m") == "gs"
    assert scheme_of("/a/b://c") is None
    assert local_path("relative/model") == Path("relative/model")


def test_it_pickles_small() -> None:
    assert pickle.loads(pickle.dumps(LocalOpener())) == LocalOpener()
    assert len(pickle.dumps(LocalOpener())) < 100
