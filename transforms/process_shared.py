"""Values that the DoFns of one pipeline share in a worker process, such as consumers and models."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar


class Closable(Protocol):
    """A value that is closed once, after its last use."""

    def close(self) -> None:
        """Releases the resources of the value."""


T = TypeVar("T", bound=Closable)


class _Slot(Generic[T]):
    """One shared value. Its own lock is held while the value is created, which may involve network calls."""

    def __init__(self, urgent: bool) -> None:
        self.urgent = urgent
        self.users = 0
        self._lock = threading.Lock()
        self._value: T | None = None
        self._closed = False

    def get(self, make: Callable[[], T]) -> T | None:
        """The value, which the first call creates; None once it is closed."""
        with self._lock:
            if self._value is None and not self._closed:
                self._value = make()
            return self._value

    def close(self) -> None:
        """Closes the value; waits for its creation if that is in progress."""
        with self._lock:
            self._closed = True
            value, self._value = self._value, None
        if value is not None:
            value.close()


class ProcessShared(Generic[T]):
    """A handle on one value that the DoFns of a pipeline share in a worker process. Thread-safe.

    A transform creates the handle and passes it to its DoFns, which are pickled with it. In each process the DoFns of
    one transform therefore find the same value, while those of another transform or pipeline find their own. (Beam's
    `utils.shared.Shared` works alike, but leaves its values to the garbage collector, whereas consumers and models
    have to be closed.)

    The value is created when the first DoFn enters and closed when the last one leaves. Creating or closing one value
    does not block another.

    Args:
      urgent: whether `close_all` closes the value before values that are not urgent.
    """

    def __init__(self, urgent: bool = False) -> None:
        self._key = uuid.uuid4().hex
        self._urgent = urgent

    def enter(self, make: Callable[[], T]) -> T:
        """Registers a user and returns the value, which is created if necessary; called from a DoFn's `setup`.

        Every `enter` that returns must be followed by one `leave`. If `make` raises, the exception is passed on and
        nothing is registered.
        """
        return self._get(make, users=1)

    def value(self, make: Callable[[], T]) -> T:
        """The value, created if necessary, without registering a user.

        Beam also calls the restriction methods of a DoFn on instances that it never sets up or tears down.
        """
        return self._get(make, users=0)

    def leave(self) -> None:
        """Removes a user, and closes the value after the last one; called from a DoFn's `teardown`.

        It does nothing after `close_all`.
        """
        with _LOCK:
            slot = _SLOTS.get(self._key)
            if slot is None:
                return
            slot.users -= 1
            if slot.users > 0:
                return
            del _SLOTS[self._key]
        slot.close()

    def _get(self, make: Callable[[], T], users: int) -> T:
        while True:
            with _LOCK:
                slot: _Slot[T] = _SLOTS.setdefault(self._key, _Slot(self._urgent))
                slot.users += users
            try:
                value = slot.get(make)
            except BaseException:
                with _LOCK:
                    slot.users -= users
                raise
            if value is not None:  # None: the slot was closed in the meantime, so the next round creates a new one
                return value


# All shared values of this process, by the key of their handle. This is the only place for such state.
_SLOTS: dict[str, _Slot[Any]] = {}
_LOCK = threading.Lock()


def close_all() -> None:
    """Closes all shared values of this process, the urgent ones first.

    It is meant for a process that is its own worker, as with the DirectRunner, which does not tear down any DoFn when
    its pipeline is cancelled.
    """
    with _LOCK:
        closing = sorted(_SLOTS.values(), key=lambda slot: not slot.urgent)
        _SLOTS.clear()
    for slot in closing:
        slot.close()
