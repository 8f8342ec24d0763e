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


class _Shared(Generic[T]):
    """The value of one pipeline; its lock is held while the value is made, which may take calls of the network."""

    def __init__(self) -> None:
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


class PerPipeline(Generic[T]):
    """One value a pipeline, made for the first DoFn that enters and closed when the last one leaves. Thread-safe.

    Making and closing the value of one pipeline does not hold up another pipeline.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shared: dict[str, _Shared[T]] = {}

    def enter(self, run_id: str, make: Callable[[], T]) -> T:
        """A DoFn of this pipeline is set up in this process."""
        return self._get(run_id, make, users=1)

    def value(self, run_id: str, make: Callable[[], T]) -> T:
        """The pipeline's value, without entering: Beam asks for restrictions where it sets no DoFn up."""
        return self._get(run_id, make, users=0)

    def leave(self, run_id: str) -> None:
        """A DoFn of this pipeline is torn down; after `close_all` this changes nothing."""
        with self._lock:
            shared = self._shared.get(run_id)
            if shared is None:
                return
            shared.users -= 1
            if shared.users > 0:
                return
            del self._shared[run_id]
        shared.close()

    def close_all(self) -> None:
        """Closes the values of all pipelines in this process."""
        with self._lock:
            closing, self._shared = list(self._shared.values()), {}
        for shared in closing:
            shared.close()

    def _get(self, run_id: str, make: Callable[[], T], users: int) -> T:
        while True:
            with self._lock:
                shared = self._shared.setdefault(run_id, _Shared())
                shared.users += users
            try:
                value = shared.get(make)
            except BaseException:
                with self._lock:
                    shared.users -= users
                raise
            if value is not None:  # None: it was closed meanwhile, and another takes its place
                return value
