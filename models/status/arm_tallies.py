"""Statistics of candidates, compared with the serving arm on the same records."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from models.columns.agreement import agreeing_records, answered_by_both
from models.columns.labels import LabelledAnswer
from models.columns.scored import ScoredRecords
from models.model_topic.guardrails import Guardrails

_KEPT = 64


@dataclass(frozen=True)
class ArmStatistics:
    """The statistics of a candidate in one worker, since the state of the route began.

    Attributes:
      data_type: the data type of the records.
      route: the offset of the message that introduced this state of the route.
      arm: the name of the candidate.
      records: the number of records that it was given.
      errors: the number of those records that it did not answer.
      compared: the number of its answers for records that the serving arm has answered, too.
      agreeing: the number of compared answers on which both agree.
      milliseconds, serving_milliseconds: the time that both took for the records of batches that both answered
        entirely. Other batches are left out, because errors divide a batch into many calls.
      timed: the number of these batches.
      slow: the number of these batches for which the candidate took longer than its limit allows.
      labels: the number of its answers that have received a label.
      correct: the number of labelled answers that are correct.
      numbers: the number of labels that are numbers.
      deviation, squared_deviation: the sums of the distances between answers and numeric labels, and of their squares.
    """

    data_type: str
    route: int
    arm: str
    records: int = 0
    errors: int = 0
    compared: int = 0
    agreeing: int = 0
    milliseconds: float = 0.0
    serving_milliseconds: float = 0.0
    timed: int = 0
    slow: int = 0
    labels: int = 0
    correct: int = 0
    numbers: int = 0
    deviation: float = 0.0
    squared_deviation: float = 0.0

    def plus(self, other: ArmStatistics) -> ArmStatistics:
        """Adds the statistics of the same arm from another worker, or from another time."""
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in _SUMMED})

    @property
    def slowdown(self) -> float:
        """The candidate's time for the same records divided by the serving arm's; 0 before a comparison."""
        return self.milliseconds / self.serving_milliseconds if self.serving_milliseconds else 0.0


_SUMMED = tuple(one.name for one in fields(ArmStatistics) if one.default == 0)

Key = tuple[str, int, str]


class ArmTallies:
    """Collects the statistics of the candidates of one worker. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tallies: dict[Key, ArmStatistics] = {}
        self._changed: set[Key] = set()

    def answered(self, key: Key, parts: Sequence[ScoredRecords]) -> None:
        """Adds answers of a candidate.

        Args:
          key: the data type, the offset of the route, and the name of the arm.
          parts: the records that it was given, and its answers.
        """
        records = sum(len(part.rows) for part in parts)
        errors = sum(len(part.rows) for part in parts if part.outputs is None)
        self._add(key, ArmStatistics(*key, records, errors))

    def compared(
        self, key: Key, candidate: Sequence[ScoredRecords], serving: Sequence[ScoredRecords], limits: Guardrails
    ) -> None:
        """Adds a comparison of a candidate with the serving arm on the same records.

        Args:
          key: as in `answered`.
          candidate: the answers of the candidate.
          serving: the answers of the serving arm.
          limits: the limits of the candidate, which define when answers agree and when batches are slow.
        """
        found = ArmStatistics(*key)
        for answer, wanted, records in answered_by_both(candidate, serving):
            every = np.ones(records, np.bool_)
            for name in wanted.arrays:
                every &= agreeing_records(name, answer, wanted, limits.tolerance)
            found = found.plus(ArmStatistics(*key, compared=records, agreeing=int(np.count_nonzero(every))))
        if all(part.outputs is not None for part in (*candidate, *serving)):
            times = [sum(part.call.duration for part in parts) / 1000 for parts in (candidate, serving)]
            slow = times[0] > limits.max_slowdown * times[1]
            found = replace(found, milliseconds=times[0], serving_milliseconds=times[1], timed=1, slow=int(slow))
        if found.compared:
            self._add(key, found)

    def labelled(self, key: Key, answer: LabelledAnswer) -> None:
        """Adds an answer of a candidate that has received its label; the key is as in `answered`."""
        found = ArmStatistics(*key, labels=1, correct=int(answer.correct))
        if answer.deviation is not None:
            found = replace(found, numbers=1, deviation=answer.deviation, squared_deviation=answer.deviation**2)
        self._add(key, found)

    def changes(self) -> list[ArmStatistics]:
        """The statistics that have changed since the last call; each covers all the time since its route began."""
        with self._lock:
            changed, self._changed = self._changed, set()
            return [self._tallies[key] for key in sorted(changed)]

    def _add(self, key: Key, statistics: ArmStatistics) -> None:
        with self._lock:
            known = self._tallies.pop(key, None)
            self._tallies[key] = statistics if known is None else known.plus(statistics)
            self._changed.add(key)
            while len(self._tallies) > _KEPT:  # past routes
                oldest = next(iter(self._tallies))
                del self._tallies[oldest]
                self._changed.discard(oldest)
