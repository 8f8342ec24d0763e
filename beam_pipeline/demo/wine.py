"""The red wines of the data set, and which of them no model was trained on.

A quarter of the lots is held out: the stream carries only these, so every accuracy of the demo is one on rows that no
model has seen. The data set names many lots twice; the side is drawn by what was measured, not by the row, so that
both stand on one side.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from beam_pipeline.publishing.wine_data import MEASURES, Wine, parse_wine, wine_file
from models.records.record_type import Row

_HELD_OUT_ONE_IN = 4


@dataclass(frozen=True)
class WineData:
    """The lots to train on, and the lots that are held out: no lot of one side is on the other."""

    training: tuple[Wine, ...]
    held_out: tuple[Wine, ...]


def load_wines() -> WineData:
    """All lots, in the order of the file, on their sides."""
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
    """A lot id that no other record of the stream has; it tells which held-out wine it is."""
    return f"{sequence:08d}-{place:04d}"


def parse_lot_id(lot: str) -> tuple[int, int]:
    """The sequence number and the place among the held-out wines.

    Raises:
      ValueError: when this is no lot id of ours.
    """
    sequence, _, place = lot.partition("-")
    return int(sequence), int(place)
