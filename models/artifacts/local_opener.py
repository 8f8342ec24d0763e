"""Reads model locations on this machine, for code that runs without Beam: publishing, tools, tests."""

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
    """The path of a location that is a plain path or a file:// URI.

    Raises:
      ModelLoadError: when the location is on another machine or has another scheme.

    >>> local_path("file:///models/red%20wine")
    PosixPath('/models/red wine')
    """
    scheme = scheme_of(location)
    if scheme is None:
        return Path(location)
    uri = urlsplit(location)
    if scheme != "file" or uri.netloc not in ("", "localhost"):
        raise ModelLoadError(f"model location {location!r} is not on this machine; use a path or file:///PATH")
    return Path(unquote(uri.path))


@dataclass(frozen=True)
class LocalOpener:
    """An `Opener` for plain paths and file:// URIs.

    It copies the files although they could be used in place. A loader reads them twice, for the digest and for the
    model, and only its own copy is guaranteed not to change in between, when a new version is written to the same
    folder. (A hard link would change as well.) Links are followed, so the copy contains none.
    """

    def download(self, location: str, folder: Path) -> Path:
        """Copies the file or folder into `folder`, under its own name, and returns the path of the copy.

        Raises:
          ModelLoadError: when the location does not exist or cannot be read; the message names it.
        """
        source = local_path(location)
        # Locations such as "." and "/" have no name.
        target = folder / (source.name or "model")
        try:
            if source.is_dir():
                _copy_folder(source, target)
            elif source.is_file():
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
            else:
                raise ModelLoadError(f"model location {location!r} does not exist, or this process may not access it")
        except OSError as error:
            raise ModelLoadError(f"model location {location!r} cannot be copied: {error}") from error
        return target


def _copy_folder(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for name, path in regular_files(source):
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
