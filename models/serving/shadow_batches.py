"""Joins the records that wait for one shadow into larger batches, and parts the answers again.

The live path scores the records that have arrived, a few at a time if the stream is slow. A shadow is in no hurry, and
one call for many such batches takes a fraction of the processor time of many calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.columns.scored import ScoredRecords
from models.serving.scoring import ShadowWork, coordinates_of


@dataclass(frozen=True)
class ShadowBatch:
    """Work for one arm of one state of a route, from one topic, which is scored together.

    Attributes:
      works: in the order in which they arrived; at least one.
    """

    works: tuple[ShadowWork, ...]

    @property
    def bounds(self) -> npt.NDArray[np.int64]:
        """int64 [works + 1]: work i has the rows bounds[i] to bounds[i + 1] of the joined columns."""
        return np.cumsum([0, *(len(work.rows) for work in self.works)])

    def columns(self) -> pa.RecordBatch:
        """The columns of all records."""
        parts = [work.decoded.only(work.rows) for work in self.works]
        return parts[0] if len(parts) == 1 else pa.concat_batches(parts)

    def coordinates(self) -> list[bytes]:
        """TOPIC-PARTITION-OFFSET of each record."""
        return [one for work in self.works for one in coordinates_of(work.batch, work.decoded, work.rows)]

    def parted(self, scored: Sequence[ScoredRecords]) -> Iterator[tuple[ShadowWork, list[ScoredRecords]]]:
        """Each work with its answers, whose rows are again those of the decoded columns of the work.

        Args:
          scored: the answers for the joined columns.
        """
        bounds = self.bounds.tolist()
        for work, start, end in zip(self.works, bounds, bounds[1:], strict=False):
            yield work, [part for one in scored if (part := _part(one, work, start, end)) is not None]


def shadow_batches(works: Sequence[ShadowWork]) -> list[ShadowBatch]:
    """Groups the work of one shadow by the state of the route and the topic, which determines the columns."""
    groups: dict[object, list[ShadowWork]] = {}
    for work in works:
        groups.setdefault((work.route, work.batch.span.topic, work.decoded.columns.schema), []).append(work)
    return [ShadowBatch(tuple(group)) for group in groups.values()]


def _part(scored: ScoredRecords, work: ShadowWork, start: int, end: int) -> ScoredRecords | None:
    first, last = np.searchsorted(scored.rows, [start, end]).tolist()
    if first == last:
        return None
    rows = work.rows[scored.rows[first:last] - start]
    if last - first == len(scored.rows):
        return replace(scored, rows=rows)
    outputs = None if scored.outputs is None else scored.outputs.take(np.arange(first, last))
    return replace(scored, rows=rows, outputs=outputs)
