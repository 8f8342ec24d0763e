"""Fills the cache of files that are downloaded or built once, by one process at a time."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.cache_folder import cache_folder as cache_folder


def announce(text: str) -> None:
    """Reports long-running work on standard error, because standard output is for results."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def locked(path: Path, waiting_for: str) -> Iterator[None]:
    """Holds the lock file `path` for the block; the operating system releases it if the process dies.

    Args:
      path: the lock file; it is created if missing, and is kept.
      waiting_for: what the holder of the lock is doing, announced if this process has to wait for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            announce(f"Waiting for another process: {waiting_for}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
