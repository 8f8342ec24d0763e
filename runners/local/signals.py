"""Handling of SIGINT (Ctrl-C) and SIGTERM, the signals that stop our programs.

A shell starts background programs with SIGINT ignored (`make test &`, `nohup`), and Python keeps it that way, so they
would never get a KeyboardInterrupt. These functions install handlers for both signals in any case.
"""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

STOPPING = (signal.SIGINT, signal.SIGTERM)

# The exit status of a program that was interrupted before it was done, as in shells.
INTERRUPTED = 128 + signal.SIGINT


class StopRequest:
    """Like `threading.Event`, but a signal handler may call `set` while the interrupted thread is inside `wait`.

    A handler runs in the main thread, between any two instructions. `Event.wait` holds a lock for a moment that
    `Event.set` takes, so a signal at that moment would block the program for ever. The queue below avoids this: its
    `put` is reentrant.

    Example:
      >>> request = StopRequest()
      >>> request.wait(0.01)
      False
      >>> request.set()
      >>> request.wait(), request.is_set()
      (True, True)
    """

    def __init__(self) -> None:
        self._is_set = False
        self._wakings: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        """Ends the wait, now and later."""
        self._is_set = True
        self._wakings.put(None)

    def is_set(self) -> bool:
        """Whether `set` was called."""
        return self._is_set

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until `set` is called, for at most `seconds`, and returns whether it was. For one thread only."""
        if not self._is_set:
            with suppress(queue.Empty):
                self._wakings.get(timeout=seconds)
        return self._is_set


def set_at_signals(on_signal: Callable[[signal.Signals], None] = lambda _: None) -> StopRequest:
    """Returns a request that SIGINT and SIGTERM set, for programs that run until then. Call it in the main thread only.

    Args:
      on_signal: called with each signal, before the request is set.
    """
    stop = StopRequest()

    def handle(number: int, _: FrameType | None) -> None:
        on_signal(signal.Signals(number))
        stop.set()

    for number in STOPPING:
        signal.signal(number, handle)
    return stop


@contextmanager
def interrupted_by_signals(*more: signal.Signals) -> Iterator[None]:
    """Makes SIGINT and SIGTERM raise KeyboardInterrupt inside the block, and restores the previous handlers after it.

    Signals reach only the main thread, so this has no effect in other threads.

    Args:
      more: further signals that raise it, unless they are ignored (as `nohup` ignores SIGHUP).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [*STOPPING, *(number for number in more if signal.getsignal(number) != signal.SIG_IGN)]
    before: dict[signal.Signals, Any] = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None means that the handler was not set from Python and cannot be restored.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
