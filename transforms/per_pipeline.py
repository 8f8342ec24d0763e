"""What the DoFns of one pipeline share in a worker process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """Something that is closed once."""

    def close(self) -> None:
        """Releases what it holds."""


T = TypeVar("T", bound=Closable)


class PerPipeline(Generic[T]):
    """One value a pipeline, made for the first DoFn that enters and closed when the last one leaves. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, T] = {}
        self._users: dict[str, int] = {}

    def enter(self, run_id: str, make: Callable[[], T]) -> T:
        """A DoFn of this pipeline is set up in this process."""
        with self._lock:
            value = self._value(run_id, make)
            self._users[run_id] = self._users.get(run_id, 0) + 1
            return value

    def value(self, run_id: str, make: Callable[[], T]) -> T:
        """The pipeline's value, without entering: Beam asks for restrictions where it sets no DoFn up."""
        with self._lock:
            return self._value(run_id, make)

    def leave(self, run_id: str) -> None:
        """A DoFn of this pipeline is torn down; after `close_all` this changes nothing."""
        with self._lock:
            if run_id not in self._values:
                return
            self._users[run_id] = self._users.get(run_id, 0) - 1
            if self._users[run_id] > 0:
                return
            value = self._values.pop(run_id)
            del self._users[run_id]
        value.close()

    def close_all(self) -> None:
        """Closes the values of all pipelines in this process."""
        with self._lock:
            values, self._values, self._users = self._values, {}, {}
        for value in values.values():
            value.close()

    def _value(self, run_id: str, make: Callable[[], T]) -> T:
        if run_id not in self._values:
            self._values[run_id] = make()
        return self._values[run_id]
