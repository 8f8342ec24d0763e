"""How much memory a model takes: measured while it is loaded."""

from __future__ import annotations

import os
from pathlib import Path

from models.artifacts.fetching import Opener

_STATUS = Path("/proc/self/statm")


def resident_bytes() -> int:
    """The bytes of memory that this process has resident; 0 where the system does not tell."""
    try:
        pages = int(_STATUS.read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


class CountingOpener:
    """An opener that counts the bytes which it downloads.

    Args:
      opener: does the work.

    Attributes:
      downloaded: the bytes of all files so far.
    """

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self.downloaded = 0

    def download(self, location: str, folder: Path) -> Path:
        """As the opener does it."""
        path = self._opener.download(location, folder)
        files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
        self.downloaded += sum(one.stat().st_size for one in files)
        return path
