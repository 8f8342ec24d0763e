"""Joins the answers of candidates with labels from the feedback topic, which arrive later.

A worker remembers the answers of its candidates if their guardrails set limits for labels. It reads all labels, most of
which belong to answers of other workers and arms.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from models.columns.labels import Label, LabelledAnswer, Value, comparable_answers, compare
from models.columns.scored import ScoredRecords
from models.status.arm_tallies import Key

_LOGGER = logging.getLogger(__name__)

REMEMBERED = 100_000
"""The number of answers for which a worker waits for labels; labels for older answers come too late."""

Outcome = Literal["counted", "duplicate", "late", "unknown", "incomparable"]
"""The outcome of a label. Only a `counted` label changes anything. A `duplicate` label is for an answer that has one
already; a `late` one belongs to an earlier state of the route; an `unknown` one belongs to a record that no candidate
of this worker has answered or that was forgotten; an `incomparable` one is for an output that the model lacks, or is of
another kind."""


@dataclass
class _Answer:
    key: Key
    values: dict[str, Value]
    tolerance: float
    labelled: bool = False


class AwaitedLabels:
    """The answers of candidates that wait for their labels. Thread-safe.

    Args:
      labelled: called with each answer that has received its label.
      remembered: the maximum number of answers that wait for labels.
    """

    def __init__(self, labelled: Callable[[Key, LabelledAnswer], None], remembered: int = REMEMBERED) -> None:
        self._labelled = labelled
        self._remembered = remembered
        self._lock = threading.Lock()
        self._answers: dict[bytes, _Answer] = {}  # the oldest first
        self._newest: dict[tuple[str, str], int] = {}
        self._outcomes: Counter[Outcome] = Counter()

    @property
    def outcomes(self) -> Counter[Outcome]:
        """The number of labels by outcome."""
        with self._lock:
            return self._outcomes.copy()

    def remember(self, key: Key, part: ScoredRecords, coordinates: Sequence[bytes], tolerance: float) -> None:
        """Remembers the answers of a candidate.

        A record that is scored again in the same state of the route keeps its label.

        Args:
          key: the data type, the offset of the route, and the name of the arm.
          part: the records and the answers.
          coordinates: TOPIC-PARTITION-OFFSET of each record.
          tolerance: how far numbers may differ from their labels.
        """
        if part.outputs is None:
            return
        answers = comparable_answers(part.outputs)
        with self._lock:
            arm = key[0], key[2]
            self._newest[arm] = max(key[1], self._newest.get(arm, key[1]))
            for where, values in zip(coordinates, answers, strict=True):
                before = self._answers.pop(where, None)
                labelled = before is not None and before.key == key and before.labelled
                self._answers[where] = _Answer(key, values, tolerance, labelled)
            while len(self._answers) > self._remembered:
                del self._answers[next(iter(self._answers))]

    def add(self, coordinates: bytes, label: Label) -> Outcome:
        """Adds the label of a record, and returns its outcome."""
        with self._lock:
            answer = self._answers.get(coordinates)
            outcome, found = self._compare(answer, label)
            self._outcomes[outcome] += 1
            if answer is not None and found is not None:
                answer.labelled = True
                self._labelled(answer.key, found)
            if outcome == "incomparable" and self._outcomes[outcome].bit_count() == 1:  # the first, second, fourth ...
                _LOGGER.warning(
                    "the label of record %s cannot be compared with the answer of its candidate; labels so far: %s",
                    coordinates.decode(errors="replace"),
                    ", ".join(f"{count} {name}" for name, count in sorted(self._outcomes.items())),
                )
            return outcome

    def _compare(self, answer: _Answer | None, label: Label) -> tuple[Outcome, LabelledAnswer | None]:
        if answer is None:
            return "unknown", None
        data_type, route, arm = answer.key
        if route < self._newest[data_type, arm]:
            return "late", None
        if answer.labelled:
            return "duplicate", None
        found = compare(answer.values, label, answer.tolerance)
        return ("incomparable", None) if found is None else ("counted", found)
