"""Coders of the values that cross stages; each lies beside its type and has a deterministic order."""

from __future__ import annotations

from typing import Any

from apache_beam import coders

from models.record import RecordBatch


class RecordBatchCoder(coders.Coder):
    """`RecordBatch` as the columns that it writes itself."""

    def encode(self, value: RecordBatch) -> bytes:
        return value.to_bytes()

    def decode(self, encoded: bytes) -> RecordBatch:
        return RecordBatch.from_bytes(encoded)

    def is_deterministic(self) -> bool:
        return True

    def to_type_hint(self) -> Any:
        return RecordBatch


coders.registry.register_coder(RecordBatch, RecordBatchCoder)
