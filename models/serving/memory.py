"""How much memory a model takes: measured while it is loaded."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
      check: called with the bytes of all files so far, after each download; raises when there are too many.

    Attributes:
      downloaded: the bytes of all files so far.
    """

    def __init__(self, opener: Opener, check: Callable[[int], None]) -> None:
        self._opener = opener
        self._check = check
        self.downloaded = 0

    def download(self, location: str, folder: Path) -> Path:
        """As the opener does it."""
        path = self._opener.download(location, folder)
        files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
        self.downloaded += sum(one.stat().st_size for one in files)
        self._check(self.downloaded)
        return path


class LoadGate:
    """Lets loads of models run side by side, except those whose memory is measured. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0

    @contextmanager
    def passed(self, alone: bool) -> Iterator[None]:
        """Waits for its turn, and lets nobody else in if it is to be alone.

        A load that is to be alone may wait for as long as others begin before the last one has ended.
        """
        capacity = 0 if alone else _MOST_LOADS
        with self._changed:
            self._changed.wait_for(lambda: 0 <= self._inside <= capacity)
            self._inside = _ALONE if alone else self._inside + 1
        try:
            yield
        finally:
            with self._changed:
                self._inside = 0 if alone else self._inside - 1
                self._changed.notify_all()


_ALONE = -1
_MOST_LOADS = 1 << 31
