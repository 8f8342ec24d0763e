"""Extracts untrusted tar files, compressed with gzip or not, as the layers of OCI artifacts are."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from models.artifacts.archive import ENTRY_LIMIT, allowed_bytes, relative_name
from models.errors import ModelLoadError

_GZIP_MARK = b"\x1f\x8b"
_BLOCK = 1024 * 1024
_BROKEN_TAR = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, OverflowError)


def extract_tar(archive: Path, folder: Path, below: str | None = None, limit: int | None = None) -> None:
    """Extracts a tar file. After an error, files may remain in `folder`. Times, modes and owners are not kept.

    Args:
      archive: the tar file.
      folder: the target, which is created if it is missing.
      below: if it is given, only the content of this folder of the archive is extracted, without the folder's own name;
        the rest may contain entries that would be rejected. Files replace those of an earlier archive, as the layers of
        an image do, but cannot delete any.
      limit: the number of bytes that the unpacked tar file may have; None means 200 times the size of the archive, but
        at least 1 GiB.

    Raises:
      ModelLoadError: when `archive` is not a tar file, is broken, or contains more than `limit` bytes or 100,000
        entries, a link or device, a duplicate name, or a name that leads outside of `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    allowed = limit if limit is not None else allowed_bytes(archive.stat().st_size)
    try:
        with _opened(archive) as content:
            # Read once, as a stream, so that the counted bytes are the written ones.
            stream = cast("BinaryIO", _Limited(content, allowed))
            with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", errors="strict") as opened:
                _extract(opened, folder, below)
            # Read to the end, which has the checksum of the compressed data.
            while stream.read(_BLOCK):
                pass
    except _BROKEN_TAR as error:
        raise ModelLoadError(f"the tar file cannot be read: {error or type(error).__name__}") from error


def _extract(opened: tarfile.TarFile, folder: Path, below: str | None) -> None:
    seen: set[PurePosixPath] = set()
    for count, entry in enumerate(opened, 1):
        if count > ENTRY_LIMIT:
            raise ModelLoadError(f"the tar file contains more than {ENTRY_LIMIT} entries")
        name = _name(entry, below)
        if name is None:
            continue
        # A sparse file has more bytes than are in the archive.
        if not (entry.isreg() or entry.isdir()) or entry.issparse():
            raise ModelLoadError(
                f"tar entry {entry.name!r} is a link, a device or sparse; only plain files and folders are allowed"
            )
        if name in seen and not entry.isdir():
            raise ModelLoadError(f"tar entry {entry.name!r} is a duplicate")
        seen.add(name)
        _extract_entry(opened, entry, folder / name, replace=below is not None)


def _name(entry: tarfile.TarInfo, below: str | None) -> PurePosixPath | None:
    """The name of an entry in the target folder; None for an entry that is left out."""
    plain = entry.name.removeprefix("./").rstrip("/")
    if plain in ("", "."):
        return None
    if below is None:
        return relative_name(plain)
    if not plain.startswith(f"{below}/"):
        return None
    name = relative_name(plain.removeprefix(f"{below}/"))
    if name.name.startswith(".wh."):
        raise ModelLoadError(f"tar entry {entry.name!r} deletes a file of another layer; build the image without it")
    return name


def _extract_entry(opened: tarfile.TarFile, entry: tarfile.TarInfo, target: Path, replace: bool) -> None:
    if entry.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    source = opened.extractfile(entry)
    if source is None:
        raise ModelLoadError(f"tar entry {entry.name!r} has no content")
    target.parent.mkdir(parents=True, exist_ok=True)
    with source, target.open("wb" if replace else "xb") as file:
        shutil.copyfileobj(source, file, _BLOCK)


def _opened(archive: Path) -> BinaryIO:
    with archive.open("rb") as file:
        compressed = file.read(len(_GZIP_MARK)) == _GZIP_MARK
    return cast("BinaryIO", gzip.open(archive)) if compressed else archive.open("rb")


class _Limited:
    """A file from which only a limited number of bytes can be read."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._limit = limit
        self._left = limit

    def read(self, size: int) -> bytes:
        block = self._file.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise ModelLoadError(
                f"the tar file contains more than the {self._limit} bytes that are allowed for its size"
            )
        return block
