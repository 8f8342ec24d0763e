"""SIGINT (Ctrl-C) and SIGTERM: what ends the programs that run until they are stopped.

A shell starts what it puts into the background with SIGINT ignored (`make test &`, `nohup`), and Python leaves it so:
such a program never sees a KeyboardInterrupt. Here both signals get handlers of their own, however the program was
started.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

STOPPING = (signal.SIGINT, signal.SIGTERM)

# The exit status of a program that was interrupted in the middle of something finite, as shells give it.
INTERRUPTED = 128 + signal.SIGINT


def set_at_signals(on_signal: Callable[[signal.Signals], None] = lambda _: None) -> threading.Event:
    """An event that is set by SIGINT and SIGTERM, for programs that wait for their end; only for the main thread.

    Args:
      on_signal: called with each signal, before the event is set.
    """
    stop = threading.Event()

    def handle(number: int, _: FrameType | None) -> None:
        on_signal(signal.Signals(number))
        stop.set()

    for number in STOPPING:
        signal.signal(number, handle)
    return stop


@contextmanager
def interrupted_by_signals(*more: signal.Signals) -> Iterator[None]:
    """Lets SIGINT and SIGTERM raise KeyboardInterrupt inside; the handlers from before come back at the end.

    Signals reach only the main thread: in any other one this does nothing.

    Args:
      more: further signals that do the same, unless they are ignored (as `nohup` ignores SIGHUP).
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
            # None: the handler was not set from Python, and cannot be set again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _interrupt(_: int, __: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
