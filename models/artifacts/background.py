"""Runs work that moves many bytes at a lower priority than the work that records wait for."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

_NICENESS = 5


def in_background(work: Callable[[], T]) -> T:
    """Calls `work` on a thread of a lower priority, and returns its result.

    Copying and hashing a large model occupies a core for seconds, during which records would wait. Only Linux gives
    each thread its own priority; elsewhere the thread runs like any other. Each call starts a new thread, because a
    thread cannot raise its priority again without privileges. The thread is a daemon: if the caller is interrupted, the
    process need not wait for the work to end.

    Raises:
      Exception: any exception that `work` raises.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            yield_to_others()
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="background", daemon=True).start()
    return done.result()


def yield_to_others() -> None:
    """Gives the calling thread a lower priority, for good, where the system can."""
    if sys.platform == "linux":
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        except OSError:
            return  # a sandbox may forbid it, and the work matters more than its priority
