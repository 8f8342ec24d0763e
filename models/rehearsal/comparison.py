"""Collects the answers of two models to the same records, and summarises them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from models.columns.agreement import Flags, OutputKind, agreeing_records, answered_by_both, kind_of
from models.columns.outputs import RecordOutputs
from models.columns.scored import ScoredRecords
from models.loading.admission import non_finite
from models.rehearsal.shift import shift_of
from models.tensors import Array


@dataclass(frozen=True)
class Performance:
    """The figures of one model.

    Attributes:
      records: the number of records that it received.
      errors: the number of records that it could not score.
      non_finite: the number of its answers that contain NaN or infinity.
      records_per_second: the number of records per second of scoring.
      p50, p99: the median and the 99th percentile of the duration of a call, in milliseconds.
      reasons: the most frequent errors, each with the number of its records.
    """

    records: int
    errors: int
    non_finite: int
    records_per_second: float
    p50: float
    p99: float
    reasons: tuple[tuple[str, int], ...] = ()


@dataclass
class AnswerTally:
    """Collects the answers of one model; `performance` summarises them."""

    records: int = 0
    errors: int = 0
    non_finite: int = 0
    seconds: float = 0.0
    milliseconds: list[float] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, parts: Sequence[ScoredRecords], seconds: float) -> None:
        """Adds the answers to one batch, which took `seconds`."""
        self.seconds += seconds
        for part in parts:
            self.records += len(part.rows)
            if part.outputs is None:
                self.errors += len(part.rows)
                self.reasons[part.call.error or ""] += len(part.rows)
            else:
                self.non_finite += int(np.count_nonzero(_with_non_finite(part.outputs, len(part.rows))))
                self.milliseconds.append(part.call.duration / 1000)

    def performance(self) -> Performance:
        """The figures of all batches so far."""
        p50, p99 = np.percentile(self.milliseconds, [50, 99]).tolist() if self.milliseconds else (0.0, 0.0)
        speed = self.records / self.seconds if self.seconds else 0.0
        most = tuple(self.reasons.most_common(3))
        return Performance(self.records, self.errors, self.non_finite, speed, p50, p99, most)


@dataclass(frozen=True)
class OutputComparison:
    """The comparison of an output of the candidate with the live model's.

    Attributes:
      name: the name of the output in the result.
      kind: the kind of comparison (`models.columns.agreement`).
      agreement: the share of records for which both agree, from 0 to 1.
      shift: the population stability index (`models.rehearsal.shift`).
    """

    name: str
    kind: OutputKind
    agreement: float
    shift: float


@dataclass(frozen=True)
class Comparison:
    """The comparison of a candidate with the live model on the records that the live model answered.

    Attributes:
      records: the number of these records.
      agreement: the share of them for which all outputs agree, from 0 to 1; a record that the candidate did not answer
        does not agree.
      outputs: the comparison of each output of the live model.
    """

    records: int
    agreement: float
    outputs: tuple[OutputComparison, ...]


@dataclass
class _OutputTally:
    kind: OutputKind = "value"
    agreeing: int = 0
    live: list[Array] = field(default_factory=list)
    candidate: list[Array] = field(default_factory=list)


@dataclass
class ComparisonTally:
    """Collects the answers of both models to the same records; `comparison` summarises them.

    Args:
      tolerance: as in `agreeing_records`.
    """

    tolerance: float
    records: int = 0
    agreeing: int = 0
    _outputs: dict[str, _OutputTally] = field(default_factory=dict)

    def add(self, candidate: Sequence[ScoredRecords], live: Sequence[ScoredRecords]) -> None:
        """Adds the answers to one batch."""
        self.records += sum(len(wanted.rows) for wanted in live if wanted.outputs is not None)
        for found, wanted, records in answered_by_both(candidate, live):
            self._add_answers(found, wanted, records)

    def _add_answers(self, candidate: RecordOutputs, live: RecordOutputs, records: int) -> None:
        every: Flags = np.ones(records, np.bool_)
        for name, array in live.arrays.items():
            tally = self._outputs.setdefault(name, _OutputTally())
            agreeing = agreeing_records(name, candidate, live, self.tolerance)
            tally.agreeing += int(np.count_nonzero(agreeing))
            every &= agreeing
            if len(array):
                tally.kind = kind_of(array)
            if name in candidate.arrays:
                tally.live.append(array)
                tally.candidate.append(candidate.arrays[name])
        self.agreeing += int(np.count_nonzero(every))

    def comparison(self) -> Comparison:
        """The comparison of all batches so far."""
        outputs = tuple(
            OutputComparison(
                name,
                tally.kind,
                _share(tally.agreeing, self.records),
                shift_of(_joined(tally.live), _joined(tally.candidate)),
            )
            for name, tally in sorted(self._outputs.items())
        )
        return Comparison(self.records, _share(self.agreeing, self.records), outputs)


def _joined(arrays: Sequence[Array]) -> Array:
    """All values as [values, components], or as [values] if the number of components varies."""
    flat = [array.reshape(len(array), -1) if array.size else array.reshape(0, 0) for array in arrays]
    filled = [array for array in flat if array.size]
    if not filled:
        return np.zeros(0)
    if len({array.shape[1] for array in filled}) == 1:
        return np.concatenate(filled)
    return np.concatenate([array.ravel() for array in filled])


def _with_non_finite(outputs: RecordOutputs, records: int) -> Flags:
    """The records whose outputs contain NaN or infinity: bool [records]."""
    found: Flags = np.zeros(records, np.bool_)
    for array in outputs.arrays.values():
        rows = non_finite(array).reshape(len(array), -1).any(axis=1) if array.size else np.zeros(len(array), np.bool_)
        if outputs.bounds is None:
            found |= rows
        else:
            owners = np.repeat(np.arange(records), np.diff(outputs.bounds))
            found |= np.bincount(owners[rows], minlength=records) > 0
    return found


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
