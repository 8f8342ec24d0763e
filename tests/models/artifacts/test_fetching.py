from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from models.artifacts.archive import open_saved_model, zip_folder
from models.artifacts.fetching import fetch_model
from models.artifacts.local_opener import LocalOpener
from models.errors import DigestMismatchError, ModelLoadError
from models.model_topic.descriptor import ModelDescriptor

CONTENT = b"a model"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(CONTENT)
    return path


def located(path: Path, digest: str | None = None) -> ModelDescriptor:
    return ModelDescriptor("m", "any", 1, model_source_location=str(path), digest=digest)


def test_a_located_model_is_copied_with_the_digest_of_its_bytes(file: Path, tmp_path: Path) -> None:
    fetched = fetch_model(located(file, DIGEST.upper()), None, LocalOpener(), tmp_path / "copy")
    assert isinstance(fetched.content, Path)
    assert (fetched.digest, fetched.content.read_bytes()) == (DIGEST, CONTENT)
    assert tmp_path / "copy" in fetched.content.parents


def test_an_inline_model_is_its_own_content(tmp_path: Path) -> None:
    fetched = fetch_model(ModelDescriptor("m", "any", 1, digest=DIGEST), CONTENT, LocalOpener(), tmp_path)
    assert (fetched.digest, fetched.content) == (DIGEST, CONTENT)


@pytest.mark.parametrize("content", [None, CONTENT])
def test_a_model_that_is_not_the_published_one_is_refused(content: bytes | None, file: Path, tmp_path: Path) -> None:
    descriptor = ModelDescriptor("m", "any", 1, digest="0" * 64) if content else located(file, "0" * 64)
    with pytest.raises(DigestMismatchError, match=f"{DIGEST}.*{'0' * 64}"):
        fetch_model(descriptor, content, LocalOpener(), tmp_path / "copy")


def test_a_descriptor_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="neither bytes nor a location"):
        fetch_model(ModelDescriptor("m", "any", 1), None, LocalOpener(), tmp_path)


def test_a_zip_file_on_disk_is_deleted_once_it_is_extracted(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_bytes(CONTENT)
    archive = tmp_path / "model.zip"
    archive.write_bytes(zip_folder(model))
    assert (open_saved_model(archive, tmp_path / "new") / "saved_model.pb").read_bytes() == CONTENT
    assert not archive.exists()
    assert open_saved_model(model, tmp_path / "unused") == model
