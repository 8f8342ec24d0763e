"""Zips the folder of a SavedModel for the models topic, and extracts untrusted zip files safely on a worker."""

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

# Trained weights rarely compress to less than a tenth. Weights that are all zero compress at deflate's maximum ratio of
# 1,032 to 1; they are accepted up to the floor, because a worker's disk can take that much.
EXPANSION_LIMIT = 200
EXPANSION_FLOOR = 1024**3
ENTRY_LIMIT = 100_000

_FIXED_TIME = (1980, 1, 1, 0, 0, 0)
_REGULAR_FILE = stat.S_IFREG | 0o644
_UNIX = 3
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError)


def zip_folder(path: Path) -> bytes:
    """The files below `path` as a zip file; equal files give equal bytes, regardless of their times and modes.

    (Another version of zlib may compress differently. Nothing depends on that, because the digest is that of the
    published bytes.) Empty folders are left out.

    Raises:
      ModelLoadError: when `path` is not a folder, or `models.artifacts.digest.regular_files` rejects it.
    """
    if not path.is_dir():
        raise ModelLoadError(f"{path} is not a folder, so it cannot be zipped")
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
      folder: the target, which is created if it is missing and must be empty.
      limit: the number of bytes that may be written; None means 200 times the size of the zip file, but at least 1 GiB.

    Raises:
      ModelLoadError: see `extract` and `find_saved_model`.
    """
    extract(content, folder, limit)
    return find_saved_model(folder)


def open_saved_model(content: bytes | Path, folder: Path) -> Path:
    """The folder of the SavedModel in a fetched model: a folder, or a zip file, which is extracted into `folder`.

    A zip file on disk is deleted once it is extracted. Raises as `unzip` does.
    """
    if isinstance(content, bytes):
        return unzip(content, folder)
    if content.is_dir():
        return find_saved_model(content)
    model = unzip(content, folder)
    content.unlink()
    return model


def extract(content: bytes | Path, folder: Path, limit: int | None = None) -> None:
    """Extracts any zip file; the arguments are those of `unzip`. After an error, files may remain in `folder`.

    Raises:
      ModelLoadError: when `content` is not a zip file, is broken or encrypted, or contains more than `limit` bytes, a
        link or device, a duplicate name, or a name that leads outside of `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    allowed = limit if limit is not None else allowed_bytes(size)
    try:
        with zipfile.ZipFile(io.BytesIO(content) if isinstance(content, bytes) else content) as archive:
            entries = archive.infolist()
            _check_sizes(entries, allowed)
            for name, entry in _checked_names(entries).items():
                _extract_entry(archive, entry, folder / name)
    except _BROKEN_ZIP as error:
        raise ModelLoadError(f"the zip file cannot be read: {error or type(error).__name__}") from error


def check_archive(path: Path) -> None:
    """Checks a zip file that a library will read itself.

    Raises:
      ModelLoadError: when it is not a zip file, or unpacks to more than `allowed_bytes`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive.infolist(), allowed_bytes(path.stat().st_size))
    except _BROKEN_ZIP as error:
        raise ModelLoadError(f"the zip file cannot be read: {error or type(error).__name__}") from error


def allowed_bytes(size: int) -> int:
    """The number of bytes to which a model file may grow when it is unpacked or loaded.

    >>> allowed_bytes(10) == EXPANSION_FLOOR, allowed_bytes(10**9)
    (True, 200000000000)
    """
    return max(EXPANSION_FLOOR, EXPANSION_LIMIT * size)


def find_saved_model(folder: Path) -> Path:
    """The SavedModel in `folder`: the folder itself, or the only folder in it.

    Raises:
      ModelLoadError: when neither contains a saved_model.pb; the message lists the files that were found.
    """
    if _is_saved_model(folder):
        return folder
    # Archives created on a Mac contain a folder of resource forks next to the content.
    visible = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__MACOSX"))]
    if len(visible) == 1 and _is_saved_model(visible[0]):
        return visible[0]
    names = ", ".join(sorted(entry.name for entry in visible)[:10]) or "nothing"
    raise ModelLoadError(f"{SAVED_MODEL_FILE} is neither at the top level nor in the only folder; found: {names}")


def relative_name(name: str) -> PurePosixPath:
    """`name` as a path that stays below the folder that it is joined to.

    Raises:
      ModelLoadError: when it is absolute or empty, or contains "..", a backslash, a drive or a NUL.

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
        raise ModelLoadError(f"the zip file contains {len(entries)} entries, more than {ENTRY_LIMIT}")
    # zipfile returns no more bytes of an entry than its declared size, so the sum of these limits what is written.
    total = sum(entry.file_size for entry in entries)
    if total > allowed:
        raise ModelLoadError(
            f"the zip file contains {total} bytes, more than the {allowed} that are allowed for its size"
        )


def _checked_names(entries: list[zipfile.ZipInfo]) -> dict[PurePosixPath, zipfile.ZipInfo]:
    names: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for entry in entries:
        kind = stat.S_IFMT(entry.external_attr >> 16) if entry.create_system == _UNIX else 0
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ModelLoadError(
                f"zip entry {entry.filename!r} is a link or a device; only files and folders are allowed"
            )
        name = relative_name(entry.filename)
        if name in names and not entry.is_dir():
            raise ModelLoadError(f"zip entry {entry.filename!r} is a duplicate")
        names[name] = entry
    return names


def _extract_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # Mode "x" fails if the file exists: on a case-insensitive file system, a name that differs only in case would
    # otherwise overwrite another file.
    with archive.open(entry) as source, target.open("xb") as file:
        shutil.copyfileobj(source, file, 1024 * 1024)
