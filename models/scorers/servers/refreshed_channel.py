"""A channel of gRPC that asks the DNS again from time to time.

gRPC resolves a name again only when a connection is lost. If pods behind a Service without an address of its own (a
headless one) are replaced or added, the name is resolved before the new pods are ready, and no connection is lost
afterwards: they would never be called. Servers can limit the age of connections for that reason (MAX_CONNECTION_AGE in
gRPC's documentation of keepalive), but a client cannot rely on it. A new channel resolves its name; it shares the
connections of the old one, because gRPC keeps these for the whole process by address and settings.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

REFRESH_SECONDS = 30.0


class RefreshedChannel:
    """Makes calls on a channel that is replaced at a call when it has become old. Thread-safe.

    Calls in flight end on the channel on which they began, which is closed after the last of them.

    Args:
      open_channel: opens a channel, which connects at its first call.
      seconds: the age at which a channel is replaced.
      clock: returns a number of seconds that never decreases.
    """

    def __init__(
        self,
        open_channel: Callable[[], Any],
        seconds: float = REFRESH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open = open_channel
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._current = _Opened(open_channel())
        self._due = clock() + seconds

    def unary_unary(self, *arguments: Any, **options: Any) -> _Method:
        """A method of the service, with the arguments that a stub gives to `grpc.Channel.unary_unary`."""
        return _Method(self, arguments, options)

    def close(self) -> None:
        """Closes the channel, and ends its calls."""
        self._current.channel.close()

    @contextmanager
    def in_use(self) -> Iterator[_Opened]:
        """The current channel, which is not closed before the context ends unless everything is."""
        with self._lock:
            retired = self._replace() if self._clock() >= self._due else None
            used = self._current
            used.calls += 1
        if retired is not None:
            retired.channel.close()
        try:
            yield used
        finally:
            with self._lock:
                used.calls -= 1
                ended = used is not self._current and not used.calls
            if ended:
                used.channel.close()

    def _replace(self) -> _Opened | None:
        """Opens a new channel, and returns the old one if it has no calls."""
        old, self._current = self._current, _Opened(self._open())
        self._due = self._clock() + self._seconds
        return None if old.calls else old


class _Opened:
    """A channel, the number of its calls in flight, and its methods by their paths."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.calls = 0
        self.methods: dict[Any, Any] = {}


class _Method:
    """Calls a method on the current channel."""

    def __init__(self, channel: RefreshedChannel, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        self._channel = channel
        self._arguments = arguments
        self._options = options

    def __call__(self, request: Any, **options: Any) -> Any:
        """The answer to a request; options and errors are those of a method of gRPC."""
        with self._channel.in_use() as opened:
            method = opened.methods.get(self)
            if method is None:
                method = opened.methods[self] = opened.channel.unary_unary(*self._arguments, **self._options)
            return method(request, **options)
