from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.artifacts import tar_archive
from models.artifacts.tar_archive import extract_tar
from models.errors import ModelLoadError


def entry(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", pax: dict[str, str] | None = None
) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.pax_headers = kind, link, pax or {}
    return made


def tar(*entries: tarfile.TarInfo, content: bytes = b"") -> bytes:
    """A tar file; every regular file in it has the same content."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for one in entries:
            if one.isreg():
                one.size = len(content)
            archive.addfile(one, io.BytesIO(content))
    return file.getvalue()


def extracted(content: bytes, folder: Path, below: str | None = None, limit: int | None = None) -> dict[str, bytes]:
    folder.mkdir(exist_ok=True)
    archive = folder / "archive"
    archive.write_bytes(content)
    extract_tar(archive, folder / "a" / "b", below, limit)
    found = (folder / "a" / "b").rglob("*")
    return {str(path.relative_to(folder / "a" / "b")): path.read_bytes() for path in found if path.is_file()}


@given(
    files=st.dictionaries(
        st.from_regex(r"[a-zé]{1,8}(/[a-z.]{0,3}[a-z])?", fullmatch=True), st.binary(max_size=2000), max_size=5
    )
)
def test_files_come_out_as_they_went_in(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    names = {name.split("/")[0] for name in files if "/" in name}
    files = {name: content for name, content in files.items() if name not in names}
    source = tmp_path_factory.mktemp("source")
    for name, content in files.items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(content)
    modes: tuple[Literal["w", "w:gz"], ...] = ("w", "w:gz")
    for mode in modes:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode=mode) as archive:
            archive.add(source, arcname=".")
        assert extracted(made.getvalue(), tmp_path_factory.mktemp("out")) == files


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tar(entry("../../evil")), "leads outside"),
        (tar(entry("/evil")), "leads outside"),
        (tar(entry("a/../../evil")), "leads outside"),
        (tar(entry("a\\evil")), "leads outside"),
        (tar(entry("evil", tarfile.SYMTYPE, "/etc")), "is a link, a device or sparse"),
        (tar(entry("evil", tarfile.LNKTYPE, "/etc/passwd")), "is a link, a device or sparse"),
        (tar(entry("evil", tarfile.CHRTYPE)), "is a link, a device or sparse"),
        (tar(entry("evil", tarfile.FIFOTYPE)), "is a link, a device or sparse"),
        (tar(entry("a", pax={"GNU.sparse.map": "0,0,9,0", "GNU.sparse.size": "9"})), "is a link, a device or sparse"),
        (tar(entry("a"), entry("a")), "is a duplicate"),
        (tar(entry("a"), entry("./a")), "is a duplicate"),
        (tar(entry("a"), entry("a/b")), "cannot be read"),
        (b"no tar file", "cannot be read"),
        (b"", "cannot be read"),
        (gzip.compress(b"no tar file"), "cannot be read"),
        (gzip.compress(tar(entry("a"), content=bytes(9000)))[:-20], "cannot be read"),
        (tar(entry("a"), content=bytes(9000))[:2000], "cannot be read"),
    ],
)
def test_hostile_and_broken_archives_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(ModelLoadError, match=reason):
        extracted(content, tmp_path)
    assert not list(tmp_path.parent.rglob("*evil*"))
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_only_what_is_below_a_folder_is_taken(tmp_path: Path) -> None:
    content = tar(entry("etc/x"), entry("m", tarfile.DIRTYPE), entry("m/a/b"), entry("mm/c"), content=b"1")
    assert extracted(content, tmp_path, "m") == {"a/b": b"1"}
    with pytest.raises(ModelLoadError, match="leads outside"):
        extracted(tar(entry("m/../../evil")), tmp_path / "hostile", "m")
    with pytest.raises(ModelLoadError, match="is a link"):
        extracted(tar(entry("m/link", tarfile.SYMTYPE, "/etc")), tmp_path / "linked", "m")


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_an_archive_is_read_up_to_its_limit(tmp_path: Path, wrap: Callable[[bytes], bytes]) -> None:
    content = wrap(tar(entry("a"), content=bytes(1_000_000)))
    assert extracted(content, tmp_path / "fits", limit=1_100_000) == {"a": bytes(1_000_000)}
    with pytest.raises(ModelLoadError, match="more than the 900000 bytes that are allowed"):
        extracted(content, tmp_path / "over", limit=900_000)


def test_an_archive_of_too_many_entries_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_archive, "ENTRY_LIMIT", 3)
    content = tar(*(entry(str(number)) for number in range(4)))
    with pytest.raises(ModelLoadError, match="more than 3 entries"):
        extracted(content, tmp_path)
