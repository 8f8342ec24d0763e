"""Assigns records to the arms of a generation: one that answers each record, and the shadows that also score it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.columns.condition import parse_condition
from models.routing.plan import PlannedGeneration, PlannedSegment
from models.routing.split import Hashes, choose_arms, chosen_share, field_keys, hashes_of

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class AssignedArm:
    """Records for one arm.

    Attributes:
      segment, place: the arm, by the index of its segment in the generation and its index there.
      rows: the indices of the records, ascending.
    """

    segment: int
    place: int
    rows: Rows


@dataclass(frozen=True)
class Assignment:
    """The arms of records: each record has one arm that answers, and any number of shadows."""

    answering: tuple[AssignedArm, ...]
    shadows: tuple[AssignedArm, ...] = ()


def assign(generation: PlannedGeneration, columns: pa.RecordBatch, keys: Callable[[], Sequence[bytes]]) -> Assignment:
    """Assigns records to the arms of a generation.

    Args:
      generation: the generation of the route.
      columns: the records.
      keys: returns the bytes to hash for each record; called only if records are split by their keys.

    Raises:
      ConditionError: a condition does not fit the records, or the records cannot be split by the fields of the route.
    """
    split = _Split(generation, columns, keys)
    answering: list[AssignedArm] = []
    shadows: list[AssignedArm] = []
    for number, (segment, rows) in enumerate(_by_segment(generation, columns)):
        if len(rows):
            answering += split.answering(number, segment, rows)
            shadows += split.shadows(number, segment, rows)
    return Assignment(tuple(answering), tuple(shadows))


def _by_segment(generation: PlannedGeneration, columns: pa.RecordBatch) -> Iterator[tuple[PlannedSegment, Rows]]:
    """The records of each segment: those that meet its condition and none of the earlier ones."""
    rows: Rows = np.arange(columns.num_rows)
    for segment in generation.segments:
        if segment.condition is None:
            yield segment, rows
            continue
        holds = parse_condition(segment.condition).holds(columns)[rows]
        yield segment, rows[holds]
        rows = rows[~holds]


class _Split:
    """Splits the records of segments; the hashes are computed once, and only if there is a choice."""

    def __init__(
        self, generation: PlannedGeneration, columns: pa.RecordBatch, keys: Callable[[], Sequence[bytes]]
    ) -> None:
        self._generation = generation
        self._columns = columns
        self._keys = keys
        self._hashes: Hashes | None = None

    def answering(self, number: int, segment: PlannedSegment, rows: Rows) -> Iterator[AssignedArm]:
        places = [place for place, arm in enumerate(segment.arms) if arm.answers]
        if len(places) == 1:
            yield AssignedArm(number, places[0], rows)
            return
        arms = [segment.arms[place] for place in places]
        chosen = choose_arms(
            self._hashes_of(rows), [arm.name for arm in arms], [arm.weight for arm in arms], self._generation.salt
        )
        for index, place in enumerate(places):
            mine = rows[chosen == index]
            if len(mine):
                yield AssignedArm(number, place, mine)

    def shadows(self, number: int, segment: PlannedSegment, rows: Rows) -> Iterator[AssignedArm]:
        for place, arm in enumerate(segment.arms):
            if arm.role != "shadow" or not arm.weight:
                continue
            if arm.weight < 1:
                rows_of_arm = rows[chosen_share(self._hashes_of(rows), arm.name, arm.weight, self._generation.salt)]
            else:
                rows_of_arm = rows
            if len(rows_of_arm):
                yield AssignedArm(number, place, rows_of_arm)

    def _hashes_of(self, rows: Rows) -> Hashes:
        if self._hashes is None:
            split_by = self._generation.split_by
            self._hashes = hashes_of(field_keys(self._columns, split_by) if split_by else self._keys())
        return self._hashes[rows]
