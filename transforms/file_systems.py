"""Reads model locations and writes files on the file systems that Beam supports: local, gs, s3, hdfs, azfs."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from models.artifacts.archive import relative_name
from models.artifacts.local_opener import LocalOpener, scheme_of
from models.errors import ModelLoadError, OptionsError
from models.locations import opener_of

REMEDIES = {
    "gs": "install apache-beam[gcp]",
    "s3": "install beam-serving[aws]",
    "hdfs": "install the package hdfs and pass --hdfs_host, --hdfs_port and --hdfs_user",
    "azfs": "install apache-beam[azure]",
}
_BLOCK = 8 * 1024 * 1024


@dataclass(frozen=True)
class BeamOpener:
    """An `Opener` for all locations that Beam can read. It is stateless, so it pickles to its name alone.

    Plain paths and file:// URIs are left to `LocalOpener`, and the schemes of `models.locations` to their openers. The
    file systems get their credentials and options from the calling worker, as with Beam's own reads.
    """

    def download(self, location: str, folder: Path) -> Path:
        """Copies a file, or all files below a folder, into `folder` under the last part of the location's name.

        Empty folders are not copied. Files are copied byte for byte; a `.gz` file is not decompressed.

        Returns:
          The path of the copy.

        Raises:
          ModelLoadError: the scheme is unknown, its package is missing, or the location does not exist or cannot be
            read; the message names the location and the remedy.
        """
        opener = opener_of(location)
        if opener is not None:
            return opener.download(location, folder)
        if scheme_of(location) in (None, "file"):
            return LocalOpener().download(location, folder)
        # Beam's file systems pass on any exception of their client libraries, so all of them are converted here.
        try:
            return _download(location.rstrip("/"), folder)
        except ModelLoadError as error:
            raise ModelLoadError(f"model location {location!r}: {error}") from error
        except Exception as error:
            raise ModelLoadError(
                f"model location {location!r} cannot be read: {_text(error)}; {_remedy(location)}"
            ) from error


def _download(location: str, folder: Path) -> Path:
    target = folder / (location.rpartition("/")[2] or "model")
    files, refusal = _files_below(location)
    for path in files:
        _copy_file(path, target / relative_name(path[len(location) + 1 :]))
    if files:
        return target
    if location not in _match(location):
        raise ModelLoadError(f"nothing was found{refusal}; check the name, and that this worker may read it")
    _copy_file(location, target)
    return target


def _files_below(location: str) -> tuple[list[str], str]:
    """The files below a folder, and the reason if it could not be listed.

    The location may also be a single file; some file systems fail when a file is listed.
    """
    try:
        paths = _match(location, "/**")
    except BeamIOError as error:
        return [], f" ({_text(error)})"
    # Object stores list an empty folder as an object whose name ends with "/".
    return [path for path in paths if path.startswith(f"{location}/") and not path.endswith("/")], ""


def _match(location: str, pattern: str = "") -> list[str]:
    """Paths that match `location` followed by `pattern`, and possibly others.

    Beam's patterns have no escape character. Special characters of the location are therefore replaced by "?", which
    matches any character, and callers have to filter the result.
    """
    plain = re.sub(r"[\[*?]", "?", location)
    return [file.path for file in FileSystems.match([plain + pattern])[0].metadata_list]


def _text(error: BaseException) -> str:
    """The text of an error in one line; for a BeamIOError, the texts of the errors of the individual paths."""
    details = error.exception_details if isinstance(error, BeamIOError) else None
    if details:
        return "; ".join(_text(each) if isinstance(each, Exception) else str(each) for each in details.values())
    text = str(error.args[0]) if isinstance(error, BeamIOError) and error.args else str(error)
    return " ".join(text.removesuffix(" with exceptions None").split()) or type(error).__name__


def _copy_file(path: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, _BLOCK)


def _remedy(location: str) -> str:
    scheme = scheme_of(location) or ""
    known = ", ".join(sorted(REMEDIES))
    return REMEDIES.get(scheme, f"the supported schemes are file, {known}") + ", or check the worker's permissions"


@dataclass(frozen=True)
class BeamFiles:
    """A `models.observing.payloads.file_settings.FileSystem` for all places that Beam can write to.

    It is stateless, like `BeamOpener`.
    """

    def join(self, folder: str, name: str) -> str:
        """The path of a file in a folder."""
        path: str = FileSystems.join(folder, name)
        return path

    def create(self, path: str) -> BinaryIO:
        """Opens a new file; a local folder is created if it is missing."""
        stream: BinaryIO = FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)
        return stream

    def rename(self, path: str, new_path: str) -> None:
        """Renames a file; an object store copies it and deletes the original."""
        FileSystems.rename([path], [new_path])


def check_folder(folder: str, option: str) -> None:
    """Raises OptionsError unless Beam has a file system for a folder, without accessing it.

    Args:
      folder: the path.
      option: the name of the option that contains it, for the error.
    """
    try:
        FileSystems.get_filesystem(folder)
    except ValueError as error:
        raise OptionsError(f"--{option} {folder!r} cannot be written: {_text(error)}; {_remedy(folder)}") from error
