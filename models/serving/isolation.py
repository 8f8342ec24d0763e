"""Scores the records of a batch together, and isolates those that the model cannot score.

A batch that fails is scored in halves, down to single records, so that a bad record affects only itself and costs
about twenty calls. The halving ends early if the model cannot be reached, the time for the batch is up, or samples
show that the records are not to blame. Otherwise a model that fails for every record would cost two calls per record.
"""

from __future__ import annotations

import logging
import math
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from models.errors import BatchDeadlineError, FieldValueError, ModelUnreachableError
from models.text import clean_text

_LOGGER = logging.getLogger(__name__)

T = TypeVar("T")

# If half of the records were bad, all of the samples would be bad in only one of 65,536 batches.
SAMPLES = 16


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """The result of records that were scored in one call, or that share one error.

    Attributes:
      indices: the indices of the records, in ascending order.
      answer: the model's answer; None in case of an error.
      error: the reason why there is no answer; None if there is one.
      seconds: the duration of the call; 0 when no call was made.
    """

    indices: Sequence[int]
    answer: T | None
    error: Exception | None
    seconds: float


class Isolation(Generic[T]):
    """Scores one batch. An instance is used once.

    Args:
      call: scores the records with the given indices in one call, or raises.
      seconds: after this time no further call starts, and the remaining records fail with a BatchDeadlineError.
      clock: returns a number of seconds that never decreases.
    """

    def __init__(
        self,
        call: Callable[[Sequence[int]], T],
        seconds: float = math.inf,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._call = call
        self._seconds = seconds
        self._clock = clock
        self._started = clock()
        self._last_error: Exception | None = None
        self._final: ModelUnreachableError | None = None
        self._records_to_blame = False

    def score(self, count: int, largest: int | None = None) -> list[Outcome[T]]:
        """Scores the records 0 to `count` - 1; each is in exactly one outcome. Exceptions of `call` are not raised.

        Args:
          count: the number of records.
          largest: the maximum number of records in one call; None for no limit. `seconds` covers all calls together.
        """
        size = largest or max(count, 1)
        parts = (range(start, min(start + size, count)) for start in range(0, max(count, 1), size))
        return [outcome for part in parts for outcome in self._resolve(self._try(part))]

    def _try(self, indices: Sequence[int]) -> Outcome[T]:
        if self._final is None and self._clock() - self._started >= self._seconds:
            cause = "" if self._last_error is None else f"; the last error was: {clean_text(str(self._last_error))}"
            self._final = BatchDeadlineError(f"the batch could not be scored within {self._seconds:g} s{cause}")
        if self._final is not None:
            return Outcome(indices, None, self._final, 0.0)
        began = self._clock()
        try:
            answer = self._call(indices)
        except Exception as error:  # engines raise arbitrary exceptions, and all of them belong in the result
            self._last_error = error
            if isinstance(error, ModelUnreachableError):
                self._final = error
            return Outcome(indices, None, error, self._clock() - began)
        return Outcome(indices, answer, None, self._clock() - began)

    def _resolve(self, outcome: Outcome[T]) -> list[Outcome[T]]:
        """Splits a failed outcome until each record has an answer or an error of its own."""
        indices = outcome.indices
        if outcome.error is None or len(indices) <= 1:
            return [outcome]
        if self._final is not None:
            # The outcome's own error may be due to one of its records; that the model is unreachable applies to all.
            return [replace(outcome, error=self._final)]
        _LOGGER.debug("a batch of %d records failed, scoring its halves: %s", len(indices), outcome.error)
        half = len(indices) // 2
        first, second = self._try(indices[:half]), self._try(indices[half:])
        if self._fails_for_all(indices, first, second):
            return [replace(outcome, error=first.error)]
        return self._resolve(first) + self._resolve(second)

    def _fails_for_all(self, indices: Sequence[int], first: Outcome[T], second: Outcome[T]) -> bool:
        """Whether the model, rather than some of the records, is to blame for two halves that failed alike.

        Two bad records in different halves look the same, so single records are scored as samples until one of them
        does not fail in this way. The samples are random, because bad records may occur at regular distances.
        """
        error = first.error
        if self._records_to_blame or not _alike(error, second.error) or len(indices) <= 2 * SAMPLES:
            return False
        samples = random.Random(len(indices)).sample(indices, SAMPLES)
        self._records_to_blame = not all(_alike(error, self._try([index]).error) for index in samples)
        return not self._records_to_blame and self._final is None


def _alike(first: Exception | None, second: Exception | None) -> bool:
    """Whether two errors have the same text, apart from numbers such as a count of rows.

    A FieldValueError is always due to the record itself, and is raised before the model is called.
    """
    if first is None or second is None or isinstance(first, FieldValueError):
        return False
    return type(first) is type(second) and _without_numbers(first) == _without_numbers(second)


def _without_numbers(error: Exception) -> str:
    return re.sub(r"[0-9]+", "#", clean_text(str(error)))
