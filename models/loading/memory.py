"""Measures the memory of a model while it is loaded."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from models.artifacts.fetching import Opener

_STATUS = Path("/proc/self/statm")


def resident_bytes() -> int:
    """The resident memory of this process in bytes; 0 if the system does not report it."""
    try:
        pages = int(_STATUS.read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


class CountingOpener:
    """An opener that counts the bytes that it downloads.

    Args:
      opener: the opener that does the work.
      check: called after each download with the total number of bytes so far; raises if there are too many.

    Attributes:
      downloaded: the total number of bytes so far.
    """

    def __init__(self, opener: Opener, check: Callable[[int], None]) -> None:
        self._opener = opener
        self._check = check
        self.downloaded = 0

    def download(self, location: str, folder: Path) -> Path:
        """See `Opener`."""
        path = self._opener.download(location, folder)
        files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
        self.downloaded += sum(one.stat().st_size for one in files)
        self._check(self.downloaded)
        return path


class LoadGate:
    """Lets loads of models run in parallel, except those whose memory is measured. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0

    @contextmanager
    def passed(self, alone: bool) -> Iterator[None]:
        """Waits for the load's turn; if it must run alone, no other load starts meanwhile.

        A load that must run alone may have to wait as long as new loads start before the last one has ended.
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
