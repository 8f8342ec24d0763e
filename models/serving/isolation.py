"""Scores the records of a batch together, and isolates those that the model cannot score.

A batch that fails is scored in halves, down to single records, so that a bad record spoils only itself and costs some
twenty calls. Three things end the halving early, so that a model that fails for every record does not cost two calls
for each of them: the model cannot be reached, the batch's time is up, or samples show that the records are not to
blame.
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

# If half of the records were bad, all samples would be bad in one of 65,536 batches.
SAMPLES = 16


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What came of records that were scored in one call, or that share one error.

    Attributes:
      indices: of the records, ascending.
      answer: of the model; None when there is an error.
      error: why there is no answer.
      seconds: how long the call took; 0 when none was made.
    """

    indices: Sequence[int]
    answer: T | None
    error: Exception | None
    seconds: float


class Isolation(Generic[T]):
    """Scores one batch; used once.

    Args:
      call: scores the records with these indices in one call, or raises.
      seconds: after this time no further call begins, and what is left fails with a BatchDeadlineError.
      clock: seconds; never goes back.
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

    def score(self, count: int) -> list[Outcome[T]]:
        """Scores the records 0 to `count` - 1; each is in exactly one outcome. Raises nothing that `call` raises."""
        return self._resolve(self._try(range(count)))

    def _try(self, indices: Sequence[int]) -> Outcome[T]:
        if self._final is None and self._clock() - self._started >= self._seconds:
            said = "" if self._last_error is None else f"; the last error was: {clean_text(str(self._last_error))}"
            self._final = BatchDeadlineError(f"the batch could not be scored within {self._seconds:g} s{said}")
        if self._final is not None:
            return Outcome(indices, None, self._final, 0.0)
        began = self._clock()
        try:
            answer = self._call(indices)
        except Exception as error:  # whatever an engine raises belongs into the result
            self._last_error = error
            if isinstance(error, ModelUnreachableError):
                self._final = error
            return Outcome(indices, None, error, self._clock() - began)
        return Outcome(indices, answer, None, self._clock() - began)

    def _resolve(self, outcome: Outcome[T]) -> list[Outcome[T]]:
        """Takes a failed outcome apart until each record has an answer or an error of its own."""
        indices = outcome.indices
        if outcome.error is None or len(indices) <= 1:
            return [outcome]
        if self._final is not None:
            # The outcome's own error may be that of another record; what is known of all is that nobody answers.
            return [replace(outcome, error=self._final)]
        _LOGGER.debug("a batch of %d records failed, scoring its halves: %s", len(indices), outcome.error)
        half = len(indices) // 2
        first, second = self._try(indices[:half]), self._try(indices[half:])
        if self._fails_for_all(indices, first, second):
            return [replace(outcome, error=first.error)]
        return self._resolve(first) + self._resolve(second)

    def _fails_for_all(self, indices: Sequence[int], first: Outcome[T], second: Outcome[T]) -> bool:
        """Whether the model, and not some of the records, is to blame for two halves that failed alike.

        Two bad records in different halves look the same, so single records are scored as samples, until one of them
        does not fail alike. They are drawn at random, because bad records may come at regular distances.
        """
        error = first.error
        if self._records_to_blame or not _alike(error, second.error) or len(indices) <= 2 * SAMPLES:
            return False
        samples = random.Random(len(indices)).sample(indices, SAMPLES)
        self._records_to_blame = not all(_alike(error, self._try([index]).error) for index in samples)
        return not self._records_to_blame and self._final is None


def _alike(first: Exception | None, second: Exception | None) -> bool:
    """Whether two errors say the same, apart from numbers such as a count of rows.

    A value that does not fit is always the record's own fault, and costs no call of the model.
    """
    if first is None or second is None or isinstance(first, FieldValueError):
        return False
    return type(first) is type(second) and _without_numbers(first) == _without_numbers(second)


def _without_numbers(error: Exception) -> str:
    return re.sub(r"[0-9]+", "#", clean_text(str(error)))
