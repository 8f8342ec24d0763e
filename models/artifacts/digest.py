"""SHA-256 digests of models, as 64 lower-case hexadecimal digits, and a definition of a folder's content.

The digest covers the published data:

- for an inline model, its `modelBytes`, which are the bytes of the zip file;
- for a location that is a file, including a zip file, the bytes of the file;
- for a location that is a folder, the folder as described at `digest_of_path`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from models.errors import ModelLoadError

FOLDER_MARKER = b"beam-serving folder 1\n"
_BLOCK = 1024 * 1024


def digest_of_bytes(content: bytes) -> str:
    """The digest of bytes in memory."""
    return hashlib.sha256(content).hexdigest()


def digest_of_path(path: Path) -> str:
    """The digest of a file or a folder; files are read in blocks, so their size does not matter.

    A file's digest is the SHA-256 of its bytes. A folder's digest is the SHA-256 of::

        "beam-serving folder 1" and one line feed
        for each file of `regular_files`, in that order:
            the length of its name in bytes, as 8 bytes, most significant first
            its name: the path relative to the folder, with "/", in UTF-8
            the SHA-256 of its bytes: 32 bytes

    Each part has a known length, so different folders never give the same bytes. Times, modes, empty folders and the
    order in which the operating system lists the files have no effect.

    Raises:
      ModelLoadError: when the path does not exist or cannot be read, or `regular_files` rejects it.
    """
    try:
        return (_digest_of_folder(path) if path.is_dir() else _digest_of_file(path)).hexdigest()
    except OSError as error:
        raise ModelLoadError(f"{path}: the model cannot be read: {error}") from error


def regular_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """All files below `folder` as (name, path), sorted by the UTF-8 bytes of the name, which is relative and uses "/".

    Links are followed, because Kubernetes presents mounted volumes as links. Sockets and devices are skipped.

    Raises:
      ModelLoadError: when a link leads back to a folder that contains it, or a name is not UTF-8.
    """
    found = [(_utf8(path.relative_to(folder).as_posix()), path) for path in _walk(folder, (folder.resolve(),))]
    for name, path in sorted(found):
        yield name.decode("utf-8"), path


def _walk(folder: Path, parents: tuple[Path, ...]) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            if entry.is_file():
                yield path
            elif entry.is_dir():
                yield from _walk(path, (*parents, _real_path(path, parents)))


def _real_path(folder: Path, parents: tuple[Path, ...]) -> Path:
    real = folder.resolve()
    if real in parents:
        raise ModelLoadError(f"{folder}: the link leads back to a folder that contains it; remove the link")
    return real


def _utf8(name: str) -> bytes:
    try:
        return name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ModelLoadError(f"file name {name!r} is not UTF-8; rename the file") from error


def _digest_of_folder(folder: Path) -> hashlib._Hash:
    total = hashlib.sha256(FOLDER_MARKER)
    for name, path in regular_files(folder):
        encoded = name.encode("utf-8")
        total.update(len(encoded).to_bytes(8, "big"))
        total.update(encoded)
        total.update(_digest_of_file(path).digest())
    return total


def _digest_of_file(path: Path) -> hashlib._Hash:
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            total.update(block)
    return total
