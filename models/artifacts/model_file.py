"""Finds the file of a fetched model whose format is a single file, possibly with others beside it."""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from pathlib import Path

from models.artifacts.archive import extract
from models.errors import ModelLoadError

_SHOWN_NAMES = 10


def open_model_file(content: bytes | Path, folder: Path, suffixes: Collection[str]) -> Path:
    """The file of a fetched model: the model itself, or the only file of its kind in a folder or zip file.

    Args:
      content: the bytes of an inline model, or the path of a file or folder.
      folder: where inline bytes are written, and a zip file is extracted; it need not exist.
      suffixes: the suffixes of such files, for example ".onnx". A model that is one file may have any name. (A zip file
        that has one of these suffixes is the model itself, because some formats are zip files.)

    Raises:
      ModelLoadError: when a zip file is broken (`models.artifacts.archive.extract`), or there is not exactly one such
        file at the top level of the folder or in the only folder in it; the message lists the files that were found.
    """
    if isinstance(content, bytes):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "model"
        path.write_bytes(content)
        content = path
    if content.is_file() and (content.suffix in suffixes or not zipfile.is_zipfile(content)):
        return content
    if content.is_file():
        unpacked = folder / "unpacked"
        extract(content, unpacked)
        content.unlink()
        content = unpacked
    return _only_file(content, suffixes)


def read_model_file(content: bytes | Path, folder: Path, suffixes: Collection[str], limit: int) -> bytes:
    """The content of the file that `open_model_file` finds.

    Raises:
      ModelLoadError: as in `open_model_file`, and when the file has more than `limit` bytes.
    """
    path = open_model_file(content, folder, suffixes)
    size = path.stat().st_size
    if size > limit:
        raise ModelLoadError(f"the file has {size} bytes; the limit is {limit}")
    return path.read_bytes()


def _only_file(folder: Path, suffixes: Collection[str]) -> Path:
    visible = _visible(folder)
    if len(visible) == 1 and visible[0].is_dir():
        visible = _visible(visible[0])
    found = [path for path in visible if path.suffix in suffixes and path.is_file()]
    if len(found) != 1:
        names = ", ".join(path.name for path in visible[:_SHOWN_NAMES]) or "nothing"
        raise ModelLoadError(
            f"the model must have one file *{' or *'.join(suffixes)}, at the top level or in the only folder; found: "
            f"{names}"
        )
    return found[0]


def _visible(folder: Path) -> list[Path]:
    # Archives created on a Mac contain a folder of resource forks next to the content.
    return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX")))
