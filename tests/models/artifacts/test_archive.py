from __future__ import annotations

import io
import os
import stat
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.artifacts.archive import extract, find_saved_model, relative_name, unzip, zip_folder
from models.artifacts.digest import digest_of_path
from models.errors import ModelLoadError

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0\\:", exclude_categories=["Cs"]), max_size=8)
FILES = st.dictionaries(NAMES.map(lambda name: f"folder/file-{name}"), st.binary(max_size=50), max_size=4)


def zipped(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


@given(FILES)
def test_a_folder_is_unchanged_after_zip_and_unzip(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        for name, content in {"saved_model.pb": b"model", **files}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        copy = unzip(zip_folder(folder), Path(temporary) / "copy")
        assert digest_of_path(copy) == digest_of_path(folder)


def test_times_and_modes_do_not_change_the_zip(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"2")
    (tmp_path / "a").write_bytes(b"1")
    before = zip_folder(tmp_path)
    os.utime(tmp_path / "a", (1, 1))
    (tmp_path / "b").chmod(0o700)
    assert zip_folder(tmp_path) == before
    with zipfile.ZipFile(io.BytesIO(before)) as archive:
        assert archive.namelist() == ["a", "b"]


def test_only_a_folder_can_be_zipped(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="not-there"):
        zip_folder(tmp_path / "not-there")


@pytest.mark.parametrize("top", ["", "model/", "./"])
def test_the_saved_model_is_found(tmp_path: Path, top: str) -> None:
    content = zipped({f"{top}saved_model.pb": b"1", f"{top}variables/v": b"2", "__MACOSX/x": b"3"})
    assert (unzip(content, tmp_path / "out") / "variables" / "v").read_bytes() == b"2"


def test_a_zip_file_is_read_like_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(zipped({"saved_model.pb": b"1"}))
    assert unzip(tmp_path / "model.zip", tmp_path / "out") == tmp_path / "out"


def test_without_a_saved_model_the_message_lists_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"found: keras\.json, model\.h5"):
        unzip(zipped({"model.h5": b"1", "keras.json": b""}), tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelLoadError, match="found: nothing"):
        find_saved_model(empty)


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/../../x", "..\\x", "C:/x", "a/..", "//x", pytest.param("..", id="parent")]
)
def test_names_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelLoadError, match="outside"):
        extract(zipped({"saved_model.pb": b"", name: b"evil"}), tmp_path / "out")
    assert not (tmp_path / "x").exists()
    assert not Path("/x").exists()


def test_a_nul_in_a_name_is_refused() -> None:
    with pytest.raises(ModelLoadError, match="outside"):
        relative_name("a\0b")


def test_links_are_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        entry = zipfile.ZipInfo("variables")
        entry.create_system = 3
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc")
        archive.writestr("variables/passwd", b"evil")
    with pytest.raises(ModelLoadError, match="link"):
        extract(content.getvalue(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_size_is_limited_before_anything_is_written(tmp_path: Path) -> None:
    content = zipped({"saved_model.pb": b"\0" * 1_000_000})
    with pytest.raises(ModelLoadError, match="1000000 bytes, more than the 999999"):
        extract(content, tmp_path, limit=999_999)
    assert list(tmp_path.iterdir()) == []
    extract(content, tmp_path, limit=1_000_000)


def test_an_entry_writes_no_more_than_its_declared_size(tmp_path: Path) -> None:
    content = zipped({"saved_model.pb": b"\0" * 1_000_000})
    lying = content.replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    with pytest.raises(ModelLoadError, match="cannot be read"):
        extract(lying, tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 10


def test_the_default_limit_refuses_a_bomb(tmp_path: Path) -> None:
    content = zipped({"saved_model.pb": b""})
    huge = (2**31).to_bytes(4, "little")
    central = content.index(b"PK\x01\x02")
    lying = content[: central + 24] + huge + content[central + 28 :]
    with pytest.raises(ModelLoadError, match="more than the 1073741824"):
        extract(lying, tmp_path)


def test_a_duplicate_name_is_rejected(tmp_path: Path) -> None:
    content = io.BytesIO()
    with pytest.warns(UserWarning), zipfile.ZipFile(content, "w") as archive:
        archive.writestr("saved_model.pb", b"1")
        archive.writestr("saved_model.pb", b"2")
    with pytest.raises(ModelLoadError, match="duplicate"):
        extract(content.getvalue(), tmp_path)


@given(st.binary(max_size=100), st.data())
def test_broken_archives_raise_a_model_load_error(noise: bytes, data: st.DataObject) -> None:
    content = zipped({"saved_model.pb": b"model" * 20, "variables/v": b"v" * 50})
    place = data.draw(st.integers(0, len(content)))
    for broken in (noise, content[:place], content[:place] + noise + content[place + len(noise) :]):
        with tempfile.TemporaryDirectory() as folder:
            try:
                unzip(broken, Path(folder) / "out")
            except ModelLoadError as error:
                assert "\n" not in str(error)
