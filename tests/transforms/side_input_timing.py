"""Times what a bundle pays for its side input; in a module that workers import, so that a test sees what they note."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import apache_beam as beam

from models.records.batch import RecordBatch
from transforms.model_updates import NewestPosition

SECONDS: list[float] = []


class TimeSideInput(beam.DoFn):
    """Notes how long it takes to find the newest position, as `ScoreBatch` does."""

    def setup(self) -> None:
        self._newest = NewestPosition()

    def process(self, element: RecordBatch, positions: Iterable[int]) -> Iterator[int]:
        start = time.perf_counter()
        newest = self._newest.of(positions)
        SECONDS.append(time.perf_counter() - start)
        yield newest
