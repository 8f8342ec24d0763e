"""Calls to servers: how they fail, and when they are repeated."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

import tenacity

from models.errors import ModelUnreachableError, ScoringError
from models.scorers.servers.remote_options import RemoteOptions

T = TypeVar("T")


class RemoteCallError(ScoringError):
    """A call to a server failed.

    Attributes:
      status: the status in the protocol, such as UNAVAILABLE or 503; empty when no server answered over REST.
      transient: whether the same call may succeed later or on another server, because this one was down, overloaded
        or slow; False when the server rejected the request itself.
    """

    def __init__(self, message: str, *, status: str, transient: bool) -> None:
        super().__init__(message)
        self.status = status
        self.transient = transient


class RemoteUnreachableError(RemoteCallError, ModelUnreachableError):
    """The last attempt of a call failed for a transient reason, so trying other records would not help."""


class Retries:
    """Repeats attempts that failed for a transient reason, with growing pauses, within one deadline. Thread-safe.

    tenacity is used for both REST and gRPC. The retries of gRPC itself, configured by the service config, are not
    used: they are limited to 5 attempts, give up on requests above 256 KiB (a batch of a few thousand rows), and
    belong to the channel, so scorers with different settings could not share one.
    """

    def __init__(self, options: RemoteOptions, addresses: int = 1) -> None:
        """Creates a policy from the options.

        Args:
          options: the deadlines, the number of attempts and the pauses.
          addresses: the number of addresses that successive attempts go to; a pause follows once all were tried.
        """
        self._options = options
        self._addresses = addresses
        self._retrying = tenacity.Retrying(
            wait=self._pause,
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, RemoteCallError) and error.transient),
            reraise=True,
        )

    def call(self, attempt: Callable[[float], T]) -> T:
        """Calls `attempt` until it succeeds, each time with its time limit in seconds, and returns its result.

        Raises:
          RemoteUnreachableError: the last attempt failed for a transient reason, even if it was the only one.
          RemoteCallError: the last attempt failed for another reason.
        """
        end = time.monotonic() + self._options.deadline
        # tenacity takes ten microseconds of processor time even for a call that succeeds at once, as nearly all do.
        try:
            return attempt(self._limit(end))
        except RemoteCallError as error:
            if not error.transient:
                raise
            return self._repeat(attempt, error, end)

    def _repeat(self, attempt: Callable[[float], T], failure: RemoteCallError, end: float) -> T:
        """Continues after a first attempt, which failed for a transient reason."""
        attempts = 0

        def once() -> T:
            nonlocal attempts
            attempts += 1
            if attempts == 1:
                raise failure
            return attempt(self._limit(end))

        rest = tenacity.stop_before_delay(end - time.monotonic())
        stop = tenacity.stop_after_attempt(self._options.attempts) | rest
        try:
            return self._retrying.copy(stop=stop)(once)
        except RemoteCallError as error:
            text = str(error) if attempts == 1 else f"{error} (after {attempts} attempts)"
            kind = RemoteUnreachableError if error.transient else RemoteCallError
            raise kind(text, status=error.status, transient=error.transient) from error

    def _limit(self, end: float) -> float:
        """The time limit of the next attempt in seconds."""
        return max(0.001, min(self._options.attempt_deadline, end - time.monotonic()))

    def _pause(self, state: tenacity.RetryCallState) -> float:
        rounds, rest = divmod(state.attempt_number, self._addresses)
        if rest:
            return 0.0
        longest = min(self._options.backoff_limit, self._options.backoff * 2.0 ** min(rounds - 1, 60))
        # Without jitter, all workers would retry on a recovering server at the same moments.
        return longest * random.uniform(0.5, 1.0)
