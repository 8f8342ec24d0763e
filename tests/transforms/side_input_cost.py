"""Counts the cost of a side input for each bundle, in a module that workers import, so that tests see the counts."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam import coders

from models.model_topic.position import encode_position
from models.records.batch import RecordBatch
from transforms.model_updates import NewestPositions

# Of these bundles, one looks at the side input.
BUNDLES_A_LOOK = 10


class Position(bytes):
    """A position whose decoding is counted."""


class Decoded(threading.local):
    """The number of positions that a thread has decoded; bundles that run in parallel are counted separately."""

    count = 0


DECODED = Decoded()


class PositionCoder(coders.Coder):
    """Counts how many positions are decoded."""

    def encode(self, value: Position) -> bytes:
        return bytes(value)

    def decode(self, encoded: bytes) -> Position:
        DECODED.count += 1
        return Position(encoded)

    def is_deterministic(self) -> bool:
        return True

    def to_type_hint(self) -> Any:
        return Position


coders.registry.register_coder(Position, PositionCoder)


def positions(_: bytes, count: int) -> Iterator[Position]:
    """This many positions of one topic."""
    for offset in range(count):
        yield Position(encode_position("id", offset))


class CountDecoding(beam.DoFn):
    """Finds the newest position, as `ScoreBatch` does, with a clock that advances with the bundles.

    Attributes:
      costs: the number of decoded positions for each bundle of this process.
    """

    costs: list[int] = []  # noqa: RUF012
    newest: list[dict[str, int]] = []  # noqa: RUF012

    def setup(self) -> None:
        self._bundles = 0
        self._newest = NewestPositions(seconds=BUNDLES_A_LOOK, clock=lambda: float(self._bundles))

    def process(self, element: RecordBatch, positions: Iterable[bytes]) -> Iterator[int]:
        before = DECODED.count
        CountDecoding.newest.append(self._newest.of(positions))
        CountDecoding.costs.append(DECODED.count - before)
        self._bundles += 1
        yield len(element)
