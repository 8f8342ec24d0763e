"""Records that stand in for the record that is explained: the most recent ones of the same model."""

from __future__ import annotations

from collections import deque

import pyarrow as pa

from models.explaining.attribution import RecordCoordinates

MOST_KEPT = 32
_MOST_MODELS = 256

Key = tuple[str, str, str]


class RecentRecords:
    """The most recent records of each model, a bounded number of each. Used by one thread at a time."""

    def __init__(self) -> None:
        self._kept: dict[Key, deque[tuple[RecordCoordinates, pa.RecordBatch]]] = {}

    def add(self, key: Key, where: RecordCoordinates, record: pa.RecordBatch) -> None:
        """Adds a record, and forgets the oldest one of the same model if there are too many.

        Args:
          key: the topic of the record, its data type, and the name of the model.
          where: its coordinates.
          record: its columns, one row, which must not keep a larger batch in memory.
        """
        if key not in self._kept and len(self._kept) >= _MOST_MODELS:
            self._kept.pop(next(iter(self._kept)))
        self._kept.setdefault(key, deque(maxlen=MOST_KEPT)).append((where, record))

    def others(self, key: Key, where: RecordCoordinates) -> pa.RecordBatch | None:
        """The columns of the model's records, the newest last, without the record itself; None if there are none."""
        found = [record for place, record in self._kept.get(key, ()) if place != where]
        return pa.concat_batches(found) if found else None
