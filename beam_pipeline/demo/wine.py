"""The red wines of the data set, split into training rows and held-out rows.

A quarter of the lots is held out. The stream carries only these, so every accuracy in the demo is measured on rows that
no model has seen. The data set contains many lots twice, so the split depends on the measurements instead of the row,
which keeps duplicates on the same side.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from beam_pipeline.publishing.wine_data import MEASURES, Wine, parse_wine, wine_file
from models.records.record_type import Row

_HELD_OUT_ONE_IN = 4


@dataclass(frozen=True)
class WineData:
    """The lots to train on and the held-out lots, without overlap."""

    training: tuple[Wine, ...]
    held_out: tuple[Wine, ...]


def load_wines() -> WineData:
    """Reads all lots and splits them, in the order of the file."""
    training: list[Wine] = []
    held_out: list[Wine] = []
    for line in wine_file().decode().splitlines():
        measured = line.rpartition(";")[0]
        wine = parse_wine(line)
        (held_out if zlib.crc32(measured.encode()) % _HELD_OUT_ONE_IN == 0 else training).append(wine)
    return WineData(tuple(training), tuple(held_out))


def as_record(wine: Wine, lot: str) -> Row:
    """A record of the bundled schema `wine`."""
    return {"lot_id": lot, **dict(zip(MEASURES, wine.measures, strict=True))}


def lot_id(sequence: int, place: int) -> str:
    """A lot id that is unique in the stream and identifies the held-out wine."""
    return f"{sequence:08d}-{place:04d}"


def parse_lot_id(lot: str) -> tuple[int, int]:
    """The sequence number, and the place among the held-out wines, from a lot id of `lot_id`.

    Raises:
      ValueError: the text is not such a lot id.
    """
    sequence, _, place = lot.partition("-")
    return int(sequence), int(place)
