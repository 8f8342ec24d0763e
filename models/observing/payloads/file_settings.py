"""Where files of payloads are written, and when a new one begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Protocol


class FileSystem(Protocol):
    """Where files are written: any file system, by its paths. Pickled with the pipeline."""

    def join(self, folder: str, name: str) -> str:
        """The path of a file in a folder."""

    def create(self, path: str) -> BinaryIO:
        """Opens a new file; its folder is created if it is missing. Raises whatever the file system raises."""

    def rename(self, path: str, new_path: str) -> None:
        """Renames a closed file; raises whatever the file system raises."""


@dataclass(frozen=True)
class FileSettings:
    """Files of payloads.

    Attributes:
      folder: the path of the folder, on `system`.
      system: writes the files.
      seconds: how long payloads are added to a file.
      megabytes: the size of a file in millions of bytes above which no more payloads are added.
    """

    folder: str
    system: FileSystem
    seconds: float = 300.0
    megabytes: int = 64
