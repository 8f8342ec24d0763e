"""Joins spans of offsets that are done in any order into one frontier without a hole."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OffsetFrontier:
    """How far a partition is done.

    Attributes:
      position: everything below it is done.
      islands: spans (start, end) beyond it that are done, apart, ascending.
    """

    position: int
    islands: tuple[tuple[int, int], ...] = ()

    def add(self, start: int, end: int) -> OffsetFrontier:
        """The frontier when the offsets from `start` up to but not including `end` are done as well.

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
