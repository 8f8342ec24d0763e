"""Runs work that moves many bytes behind the work that records wait for."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

_NICENESS = 10


def in_background(work: Callable[[], T]) -> T:
    """Calls `work` on a thread to which the operating system prefers all others, and returns what it returns.

    Copying and hashing a large model takes a core for seconds, in which records would wait. Only Linux gives threads a
    priority of their own; elsewhere the thread is one like all others. The thread is new for each call, because
    without privileges a thread cannot raise its priority again. It is a daemon: if the caller is interrupted, the
    process need not wait for the end of the work.

    Raises:
      Exception: whatever `work` raises.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            _yield_to_others()
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="background", daemon=True).start()
    return done.result()


def _yield_to_others() -> None:
    if sys.platform == "linux":
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        except OSError:
            return  # a sandbox may forbid it, and the work matters more than its priority
