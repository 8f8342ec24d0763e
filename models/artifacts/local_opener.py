"""Model locations on this machine, for all that runs without Beam: publishing, tools, tests."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from models.artifacts.digest import regular_files
from models.errors import ModelLoadError

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")


def scheme_of(location: str) -> str | None:
    """The scheme of a location in lower case ("gs"); None for a plain path.

    >>> scheme_of("gs://bucket/wine/3"), scheme_of("/models/wine")
    ('gs', None)
    """
    match = _SCHEME.match(location)
    return match.group(1).lower() if match else None


def local_path(location: str) -> Path:
    """The path that a plain path or a file:// URI names.

    Raises:
      ModelLoadError: when the location is on another machine or of another scheme.

    >>> local_path("file:///models/red%20wine")
    PosixPath('/models/red wine')
    """
    scheme = scheme_of(location)
    if scheme is None:
        return Path(location)
    uri = urlsplit(location)
    if scheme != "file" or uri.netloc not in ("", "localhost"):
        raise ModelLoadError(f"model location {location!r} is not on this machine; give a path or file:///PATH")
    return Path(unquote(uri.path))


@dataclass(frozen=True)
class LocalOpener:
    """An `Opener` of plain paths and file:// URIs.

    It copies, although the files could be used where they lie: whoever loads a model checks the digest and then
    reads the files again, and only a copy of its own is sure to hold the same bytes both times, when somebody
    writes a new version into the same folder. (A hard link would change with it.) The
    copy has no links: they are followed.
    """

    def download(self, location: str, folder: Path) -> Path:
        """Copies the file or folder into `folder`, under its own name, and returns the copy's path.

        Raises:
          ModelLoadError: when nothing is there or it cannot be read; the message names the location.
        """
        source = local_path(location)
        # The name is fixed where the location has none of its own, as "." and "/" have none.
        target = folder / (source.name or "model")
        try:
            if source.is_dir():
                _copy_folder(source, target)
            elif source.is_file():
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
            else:
                raise ModelLoadError(f"model location {location!r}: nothing is there, or it may not be seen")
        except OSError as error:
            raise ModelLoadError(f"model location {location!r} cannot be copied: {error}") from error
        return target


def _copy_folder(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for name, path in regular_files(source):
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
