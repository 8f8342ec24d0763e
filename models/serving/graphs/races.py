"""Races: models that are called at the same time, of which only those that answer in time count.

A call cannot be ended from outside, so each call has a daemon thread of its own, and a late call continues while its
model is held open. A model with too many late calls is not called again until one of them ends, so that a stalled model
costs a bounded number of threads.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from typing import Generic, TypeVar

LATE_CALLS = 4
"""The maximum number of calls of one model that are in progress in the races of a process."""

T = TypeVar("T")


@dataclass(frozen=True)
class Entrant(Generic[T]):
    """A model that takes part in a race.

    Attributes:
      key: equal for calls of the same model.
      call: calls the model; it must not raise.
      hold: called before the call.
      release: called after the call, even if the race is over.
    """

    key: object
    call: Callable[[], T]
    hold: Callable[[], None]
    release: Callable[[], None]


@dataclass(frozen=True)
class Arrival(Generic[T]):
    """The answer of an entrant, by its index in the race."""

    entrant: int
    answer: T


class Racecourse:
    """Runs the races of a process. Thread-safe."""

    def __init__(self, late_calls: int = LATE_CALLS) -> None:
        self._late_calls = late_calls
        self._under_way = Counter[object]()
        self._lock = threading.Lock()

    def race(
        self, entrants: Sequence[Entrant[T]], deadline: float, is_over: Callable[[Sequence[Arrival[T]]], bool]
    ) -> list[Arrival[T]]:
        """Calls all entrants at once.

        Args:
          entrants: the models.
          deadline: the time in seconds after which answers no longer count.
          is_over: whether these answers are sufficient.

        Returns:
          The answers that arrived in time, in the order of their arrival.
        """
        ends = time.monotonic() + deadline
        finish: queue.SimpleQueue[Arrival[T]] = queue.SimpleQueue()
        started = sum(self._start(place, one, finish) for place, one in enumerate(entrants))
        arrived: list[Arrival[T]] = []
        while len(arrived) < started and not is_over(arrived):
            try:
                arrived.append(finish.get(timeout=max(0.0, ends - time.monotonic())))
            except queue.Empty:
                break
        return arrived

    def _start(self, place: int, entrant: Entrant[T], finish: queue.SimpleQueue[Arrival[T]]) -> bool:
        with self._lock:
            if self._under_way[entrant.key] >= self._late_calls:
                return False
            self._under_way[entrant.key] += 1
        entrant.hold()
        # The copy of the context carries the trace of the batch.
        call = copy_context().run
        threading.Thread(target=call, args=(self._run, place, entrant, finish), name="graph-race", daemon=True).start()
        return True

    def _run(self, place: int, entrant: Entrant[T], finish: queue.SimpleQueue[Arrival[T]]) -> None:
        try:
            answer = entrant.call()
        finally:
            with self._lock:
                self._under_way[entrant.key] -= 1
                self._under_way += Counter()  # removes the models without calls
            entrant.release()
        finish.put(Arrival(place, answer))


RACECOURSE = Racecourse()
"""The racecourse of this process."""
