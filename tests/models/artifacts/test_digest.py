from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.artifacts.digest import digest_of_bytes, digest_of_path, regular_files
from models.errors import ModelLoadError

# Names with a prefix for files and another for folders, so that no name is both.
FILE_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0\\:", exclude_categories=["Cs"]), max_size=8)
PATHS = st.tuples(st.lists(st.sampled_from(["a", "b", "ä"]), max_size=2), FILE_NAMES).map(
    lambda parts: "/".join([*(f"folder-{part}" for part in parts[0]), f"file-{parts[1]}"])
)
FOLDERS = st.dictionaries(PATHS, st.binary(max_size=20), max_size=5)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_digest_of_bytes_and_of_a_file_is_plain_sha256(tmp_path: Path) -> None:
    content = b"x" * 3_000_000
    expected = hashlib.sha256(content).hexdigest()
    (tmp_path / "file").write_bytes(content)
    assert digest_of_bytes(content) == digest_of_path(tmp_path / "file") == expected


def test_digest_of_a_folder_follows_the_documented_format(tmp_path: Path) -> None:
    write(tmp_path, {"b/c": b"two", "ä": b"", "B": b"one"})
    text = b"beam-serving folder 1\n"
    for name, content in (("B", b"one"), ("b/c", b"two"), ("ä", b"")):
        text += len(name.encode()).to_bytes(8, "big") + name.encode() + hashlib.sha256(content).digest()
    assert digest_of_path(tmp_path) == hashlib.sha256(text).hexdigest()


@given(FOLDERS, FOLDERS)
def test_digests_are_equal_exactly_when_the_files_are(left: dict[str, bytes], right: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, two = write(Path(folder) / "one", left), write(Path(folder) / "two", right)
        assert (digest_of_path(one) == digest_of_path(two)) == (left == right)


def test_times_modes_and_empty_folders_do_not_count(tmp_path: Path) -> None:
    write(tmp_path, {"a": b"1", "b/c": b"2"})
    before = digest_of_path(tmp_path)
    os.utime(tmp_path / "a", (1, 1))
    (tmp_path / "a").chmod(0o700)
    (tmp_path / "empty").mkdir()
    assert digest_of_path(tmp_path) == before


def test_bytes_moved_between_name_and_content_change_the_digest(tmp_path: Path) -> None:
    assert digest_of_path(write(tmp_path / "one", {"ab": b"c"})) != digest_of_path(
        write(tmp_path / "two", {"a": b"bc"})
    )


def test_links_are_followed_and_loops_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "data", {"version/saved_model.pb": b"1"})
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    (mounted / "saved_model.pb").symlink_to(tmp_path / "data/version/saved_model.pb")
    assert digest_of_path(mounted) == digest_of_path(tmp_path / "data" / "version")
    (mounted / "again").symlink_to(mounted)
    with pytest.raises(ModelLoadError, match="leads back"):
        digest_of_path(mounted)


def test_the_error_for_a_missing_path_names_it(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="not-there"):
        digest_of_path(tmp_path / "not-there")


def test_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"\xff")).write_bytes(b"")
    except OSError:
        # This file system takes no such names, so no model on it can have one.
        return
    with pytest.raises(ModelLoadError, match="UTF-8"):
        list(regular_files(tmp_path))
    shutil.rmtree(tmp_path)
