"""Merges offset spans that finish in any order into one contiguous frontier, the offset that is safe to commit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OffsetFrontier:
    """How far the records of a partition have been processed.

    Attributes:
      position: all offsets below it are done.
      islands: finished spans (start, end) beyond `position`, disjoint and in ascending order.
    """

    position: int
    islands: tuple[tuple[int, int], ...] = ()

    def add(self, start: int, end: int) -> OffsetFrontier:
        """The frontier after the offsets from `start` up to but not including `end` are done as well.

        >>> late = OffsetFrontier(10).add(20, 30)
        >>> late
        OffsetFrontier(position=10, islands=((20, 30),))
        >>> late.add(10, 20)
        OffsetFrontier(position=30, islands=())
        """
        position = self.position
        islands: list[tuple[int, int]] = []
        for one, other in sorted([*self.islands, (start, end)]):
            if one <= position:
                position = max(position, other)
            elif islands and one <= islands[-1][1]:
                islands[-1] = (islands[-1][0], max(islands[-1][1], other))
            elif one < other:
                islands.append((one, other))
        return OffsetFrontier(position, tuple(islands))
