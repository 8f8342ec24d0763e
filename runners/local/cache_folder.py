"""Where things that are fetched or built once are kept: outside the source tree, shared by all checkouts of a user."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

APPLICATION = "beam-serving"


def cache_folder(*parts: str) -> Path:
    """The folder `parts` of our cache, below `$XDG_CACHE_HOME` or `~/.cache`. It need not exist."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base, APPLICATION, *parts)


def announce(text: str) -> None:
    """Says on standard error what long work is under way; standard output belongs to results."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def locked(path: Path, waiting_for: str) -> Iterator[None]:
    """Holds the lock file `path` for the block; the system frees it when the process ends, however it ends.

    Args:
      path: the lock file; it is made when missing and stays there.
      waiting_for: what another process is busy with, announced when this one has to wait for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            announce(f"Waiting for another process: {waiting_for}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
