"""What the DoFns of one pipeline share in a worker process."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar


class Closable(Protocol):
    """Something that is closed once."""

    def close(self) -> None:
        """Releases what it holds."""


T = TypeVar("T", bound=Closable)


class _Slot(Generic[T]):
    """One shared value; its lock is held while the value is made, which may take calls of the network."""

    def __init__(self, urgent: bool) -> None:
        self.urgent = urgent
        self.users = 0
        self._lock = threading.Lock()
        self._value: T | None = None
        self._closed = False

    def get(self, make: Callable[[], T]) -> T | None:
        """The value, made by the first who asks; None once it is closed."""
        with self._lock:
            if self._value is None and not self._closed:
                self._value = make()
            return self._value

    def close(self) -> None:
        """Closes the value, after it is made if that is under way."""
        with self._lock:
            self._closed = True
            value, self._value = self._value, None
        if value is not None:
            value.close()


class ProcessShared(Generic[T]):
    """A handle on one value that the DoFns of a pipeline share in a worker process. Thread-safe.

    A transform makes the handle and gives it to its DoFns, which are pickled with it: those of one transform find the
    same value in a process, those of another, or of another pipeline, do not. (Beam's `utils.shared.Shared` is the
    precedent; its values end with the garbage collector, whereas consumers and models have to be closed.)

    The value is made for the first DoFn that enters and closed when the last one leaves. Making and closing one value
    does not hold up another.

    Args:
      urgent: `close_all` closes the value before those that are not.
    """

    def __init__(self, urgent: bool = False) -> None:
        self._key = uuid.uuid4().hex
        self._urgent = urgent

    def enter(self, make: Callable[[], T]) -> T:
        """A DoFn is set up in this process: gives the value, which is made if need be."""
        return self._get(make, users=1)

    def value(self, make: Callable[[], T]) -> T:
        """The value, without entering: Beam asks for restrictions where it sets no DoFn up."""
        return self._get(make, users=0)

    def leave(self) -> None:
        """A DoFn is torn down; after `close_all` this changes nothing."""
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
            if value is not None:  # None: it was closed meanwhile, and another takes its place
                return value


# All that is shared in this process, by the handle's key: the one place of such state.
_SLOTS: dict[str, _Slot[Any]] = {}
_LOCK = threading.Lock()


def close_all() -> None:
    """Closes everything that is shared in this process: what is urgent first.

    For a process that is its own worker (the DirectRunner's): a pipeline that is cancelled there tears no DoFn down.
    """
    with _LOCK:
        closing = sorted(_SLOTS.values(), key=lambda slot: not slot.urgent)
        _SLOTS.clear()
    for slot in closing:
        slot.close()
