"""Locations `https://HOST/PATH` and `http://HOST/PATH`: one file, such as a model or a zip file of its folder.

The file at the URL may change, but the digest in the descriptor does not: a worker rejects any other file.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

from models.errors import ModelLoadError
from models.locations.http_files import check_url, save_file


def resolve(location: str) -> str:
    """The URL itself; raises ModelLoadError when it is malformed or contains a password."""
    check_url(location)
    return urldefrag(location).url


def download(location: str, folder: Path) -> Path:
    """Saves the file under its own name.

    Raises:
      ModelLoadError: when the server cannot be reached or refuses.
    """
    check_url(location)
    name = unquote(urlsplit(location).path).rpartition("/")[2]
    if name in ("", ".", "..") or "\0" in name:
        raise ModelLoadError(f"{location!r} names no file; a folder must be a zip file")
    target = folder / name
    save_file(location, target, {})
    return target
