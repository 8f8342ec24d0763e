"""Folders as zip files: how a SavedModel travels in the stream, and how a worker takes it out again safely."""

from __future__ import annotations

import io
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from models.artifacts.digest import regular_files
from models.errors import ModelLoadError

SAVED_MODEL_FILE = "saved_model.pb"

# Weights seldom shrink below a tenth. New weights, all zero, shrink by the most that deflate can do (1,032 to 1): up
# to the floor they are let through, because a worker's disk bears that.
EXPANSION_LIMIT = 200
EXPANSION_FLOOR = 1024**3
ENTRY_LIMIT = 100_000

_FIXED_TIME = (1980, 1, 1, 0, 0, 0)
_REGULAR_FILE = stat.S_IFREG | 0o644
_UNIX = 3
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError)


def zip_folder(path: Path) -> bytes:
    """The files below `path` as a zip file; the same files give the same bytes, whatever their times and modes.

    (The same bytes with the same zlib: another one may compress otherwise. The digest of what was published is
    taken from the bytes themselves, so nothing depends on that.) Empty folders are left out.

    Raises:
      ModelLoadError: when `path` is no folder, or `models.artifacts.digest.regular_files` refuses it.
    """
    if not path.is_dir():
        raise ModelLoadError(f"{path}: there is no folder to zip")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, file in regular_files(path):
            entry = zipfile.ZipInfo(name, _FIXED_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = _UNIX
            entry.external_attr = _REGULAR_FILE << 16
            with file.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target)
    return content.getvalue()


def unzip(content: bytes | Path, folder: Path, limit: int | None = None) -> Path:
    """Extracts a zipped SavedModel into `folder` and returns the folder of the SavedModel in it.

    Args:
      content: the zip file, or its bytes.
      folder: is made when it is missing; must be empty.
      limit: bytes that may be written; None means 200 times the size of the zip file, at least 1 GiB.

    Raises:
      ModelLoadError: see `extract` and `find_saved_model`.
    """
    extract(content, folder, limit)
    return find_saved_model(folder)


def extract(content: bytes | Path, folder: Path, limit: int | None = None) -> None:
    """Extracts any zip file; arguments as for `unzip`. What was written before an error stays in `folder`.

    Raises:
      ModelLoadError: when it is no zip file, is broken or encrypted, holds anything but files and folders, holds a
        name that leads outside or comes twice, or holds more than `limit` bytes.
    """
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    allowed = limit if limit is not None else max(EXPANSION_FLOOR, EXPANSION_LIMIT * size)
    try:
        with zipfile.ZipFile(io.BytesIO(content) if isinstance(content, bytes) else content) as archive:
            entries = archive.infolist()
            _check_sizes(entries, allowed)
            for name, entry in _checked_names(entries).items():
                _extract_entry(archive, entry, folder / name)
    except _BROKEN_ZIP as error:
        raise ModelLoadError(f"the zip file cannot be read: {error or type(error).__name__}") from error


def find_saved_model(folder: Path) -> Path:
    """The SavedModel in `folder`: the folder itself, or the only folder in it.

    Raises:
      ModelLoadError: when neither holds a saved_model.pb; the message lists what is there.
    """
    if _is_saved_model(folder):
        return folder
    # Archives made on a Mac carry a folder of resource forks beside the content.
    visible = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX"))]
    if len(visible) == 1 and _is_saved_model(visible[0]):
        return visible[0]
    names = ", ".join(sorted(entry.name for entry in visible)[:10]) or "nothing"
    raise ModelLoadError(f"no {SAVED_MODEL_FILE} is there, neither at the top nor in its only folder; found: {names}")


def relative_name(name: str) -> PurePosixPath:
    """`name` as a path that stays below the folder that it is put in.

    Raises:
      ModelLoadError: when it is absolute, empty, has "..", a backslash, a drive or a NUL.

    >>> relative_name("variables/variables.index")
    PurePosixPath('variables/variables.index')
    >>> relative_name("../../etc/passwd")
    Traceback (most recent call last):
        ...
    models.errors.ModelLoadError: file name '../../etc/passwd' leads outside of the model's folder; ...
    """
    path = PurePosixPath(name)
    if (
        path.is_absolute()
        or not path.parts
        or ".." in path.parts
        or "\\" in name
        or "\0" in name
        or ":" in path.parts[0]
    ):
        raise ModelLoadError(f"file name {name!r} leads outside of the model's folder; publish the model without it")
    return path


def _is_saved_model(folder: Path) -> bool:
    return (folder / SAVED_MODEL_FILE).is_file()


def _check_sizes(entries: list[zipfile.ZipInfo], allowed: int) -> None:
    if len(entries) > ENTRY_LIMIT:
        raise ModelLoadError(f"the zip file holds {len(entries)} entries, more than {ENTRY_LIMIT}")
    # zipfile gives out no more of an entry than its declared size, so the sum of these bounds what is written.
    total = sum(entry.file_size for entry in entries)
    if total > allowed:
        raise ModelLoadError(f"the zip file holds {total} bytes, more than the {allowed} that are allowed for its size")


def _checked_names(entries: list[zipfile.ZipInfo]) -> dict[PurePosixPath, zipfile.ZipInfo]:
    names: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for entry in entries:
        kind = stat.S_IFMT(entry.external_attr >> 16) if entry.create_system == _UNIX else 0
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ModelLoadError(
                f"zip entry {entry.filename!r} is a link or a device; only files and folders may be there"
            )
        name = relative_name(entry.filename)
        if name in names and not entry.is_dir():
            raise ModelLoadError(f"zip entry {entry.filename!r} comes twice")
        names[name] = entry
    return names


def _extract_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # Opened for exclusive creation: a name that differs only in case must not replace a file on a system that
    # does not tell them apart.
    with archive.open(entry) as source, target.open("xb") as file:
        shutil.copyfileobj(source, file, 1024 * 1024)
