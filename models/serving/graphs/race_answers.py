"""The answers of a race to its records: the first one of any model, or the vote of all models.

A model may answer only some of the records of a race, and fail for the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from models.columns.outputs import RecordOutputs
from models.columns.scored import ModelCall, ScoredRecords, StepCall
from models.errors import BatchDeadlineError, ScoringError
from models.graphs.answers import Answer, Rows, alike
from models.graphs.combining import vote_of_outputs
from models.model_topic.steps import RaceStep
from models.serving.graphs.races import Arrival
from models.tensors import Array

Parts = list[ScoredRecords]


def unanswered(rows: Rows, arrived: Sequence[Arrival[Answer]]) -> Rows:
    """The records that none of these answers covers."""
    answered = np.concatenate([np.zeros(0, np.int64), *(one.answer.rows for one in arrived)])
    return np.setdiff1d(rows, answered)


@dataclass(frozen=True)
class FinishedRace:
    """A race that is over.

    Attributes:
      step: the race.
      start, duration: in microseconds; the start since 1970-01-01 UTC.
      arrived: the answers that arrived in time, in their order.
    """

    step: RaceStep
    start: int
    duration: int
    arrived: list[Arrival[Answer]]

    def first_answers(self, rows: Rows) -> Parts:
        """For each record, the outputs of the first model that answered."""
        left, parts = rows, Parts()
        for one in self.arrived:
            for part in one.answer.parts:
                chosen = np.intersect1d(part.rows, left, assume_unique=True)
                if part.outputs is not None and len(chosen):
                    outputs = part.outputs.take(np.searchsorted(part.rows, chosen))
                    parts.append(ScoredRecords(chosen, part.call, outputs))
            left = np.setdiff1d(left, one.answer.rows, assume_unique=True)
        return parts + self._without_answer(left)

    def consensus(self, rows: Rows) -> Parts:
        """For each record, the vote of all models that answered in time."""
        voters = [one.answer for one in sorted(self.arrived, key=lambda one: one.entrant)]
        votes = np.array([np.isin(rows, voter.rows) for voter in voters]).reshape(len(voters), len(rows))
        parts = self._without_answer(rows[~votes.any(axis=0)])
        patterns, group_of = np.unique(votes, axis=1, return_inverse=True)
        for number, pattern in enumerate(patterns.T):
            here = {str(place): voters[place] for place in np.flatnonzero(pattern).tolist()}
            if here:
                for group in alike(rows[group_of.reshape(-1) == number], here, here):
                    parts += self._vote(list(here.values()), group)
        return parts

    def _vote(self, voters: Sequence[Answer], rows: Rows) -> Parts:
        try:
            outputs = vote_of_outputs([voter.of(rows) for voter in voters])
        except ScoringError as error:
            return [ScoredRecords(rows, self._call(rows, str(error), error.kind), None)]
        name = self.step.name
        steps = tuple(StepCall.of(name, part.call) for voter in voters for part in _good_parts(voter, rows))
        return [ScoredRecords(rows, self._call(rows, steps=steps), outputs)]

    def _without_answer(self, rows: Rows) -> Parts:
        """The default answer, or an error, for records that no model answered."""
        if not len(rows):
            return []
        if self.step.default is not None:
            arrays = {name: constant_array(value, len(rows)) for name, value in self.step.default.items()}
            return [ScoredRecords(rows, self._call(rows), RecordOutputs(arrays, None))]
        reasons = dict.fromkeys(
            part.call.error for one in self.arrived for part in one.answer.parts if part.call.error is not None
        )
        error = f"no model answered within {self.step.deadline:g} s{''.join(f'; {one}' for one in reasons)}"
        return [ScoredRecords(rows, self._call(rows, error, BatchDeadlineError.kind), None)]

    def _call(
        self, rows: Rows, error: str | None = None, kind: str | None = None, steps: tuple[StepCall, ...] = ()
    ) -> ModelCall:
        """The race as a call that names no model."""
        return ModelCall(None, self.start, self.duration, len(rows), error, steps=steps, error_kind=kind)


def _good_parts(answer: Answer, rows: Rows) -> Iterator[ScoredRecords]:
    return (part for part in answer.parts if part.outputs is not None and np.isin(part.rows, rows).any())


def constant_array(value: object, count: int) -> Array:
    """A constant of a default answer, repeated for `count` records: texts become bytes, a list becomes a vector.

    >>> constant_array(0.5, 2).tolist(), constant_array(("a", "b"), 1).tolist()
    ([0.5, 0.5], [[b'a', b'b']])
    """
    values = list(value) if isinstance(value, tuple) else [value]
    if isinstance(values[0], str):
        one = np.empty(len(values), object)
        one[:] = [text.encode() for text in cast(Iterable[str], values)]
    else:
        one = np.array(values)
    rows: Array = np.repeat(one[None], count, axis=0)
    return rows if isinstance(value, tuple) else rows[:, 0]
