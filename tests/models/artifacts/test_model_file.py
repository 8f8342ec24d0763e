from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from models.artifacts.model_file import open_model_file
from models.errors import ModelLoadError


def zipped(**files: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("_MAC", "#MAC").replace("__", "/").replace("_", ".").replace("#", "__"), data)
    return content.getvalue()


@pytest.mark.parametrize("name", ["m.onnx", "m.anything", "m"])
def test_a_file_is_the_model_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"model")
    assert open_model_file(tmp_path / name, tmp_path / "folder", (".onnx",)) == tmp_path / name


def test_inline_bytes_are_written(tmp_path: Path) -> None:
    assert open_model_file(b"model", tmp_path / "new" / "folder", (".onnx",)).read_bytes() == b"model"


@pytest.mark.parametrize(
    "content",
    [
        zipped(m_onnx=b"model", notes_txt=b""),
        zipped(model__m_onnx=b"model"),
        zipped(_MACOSX__m_onnx=b"fork", model__m_onnx=b"model"),
    ],
)
def test_a_zip_file_is_searched_at_the_top_and_in_its_only_folder(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.zip").write_bytes(content)
    for given in (content, tmp_path / "m.zip"):
        folder = tmp_path / type(given).__name__
        assert open_model_file(given, folder, (".onnx",)).read_bytes() == b"model"
    assert not (tmp_path / "m.zip").exists(), "a zip file is deleted once it is extracted"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (zipped(a_onnx=b"", b_ort=b""), r"found: a\.onnx, b\.ort"),
        (zipped(a_txt=b""), r"found: a\.txt"),
        (zipped(one__a_onnx=b"", two__a_onnx=b""), "found: one, two"),
        (zipped(), "found: nothing"),
    ],
)
def test_what_does_not_have_one_such_file_is_refused_with_what_was_found(
    tmp_path: Path, content: bytes, found: str
) -> None:
    with pytest.raises(ModelLoadError, match=rf"one file \*\.onnx or \*\.ort.*{found}$"):
        open_model_file(content, tmp_path, (".onnx", ".ort"))


def test_a_zip_file_that_leads_outside_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("../m.onnx", b"")
    with pytest.raises(ModelLoadError, match="leads outside"):
        open_model_file(content.getvalue(), tmp_path, (".onnx",))
