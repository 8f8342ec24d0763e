"""Coders for the values that pass between stages. Importing this module registers them.

Without them Beam would fall back to pickle, which is slow, and whose bytes a later release may be unable to read from
a savepoint.
"""

from __future__ import annotations

from typing import Any

from apache_beam import coders

from models.kafka.offset_frontier import OffsetFrontier
from models.kafka.partition_reader import Partition
from models.records.batch import OffsetSpan, RecordBatch


class RecordBatchCoder(coders.Coder):
    """Encodes a `RecordBatch` in its own columnar format."""

    def encode(self, value: RecordBatch) -> bytes:
        """The batch as bytes; see `RecordBatch.to_bytes`."""
        return value.to_bytes()

    def decode(self, encoded: bytes) -> RecordBatch:
        """The batch in `encoded`; see `RecordBatch.from_bytes`."""
        return RecordBatch.from_bytes(encoded)

    def is_deterministic(self) -> bool:
        """True: equal values have equal bytes."""
        return True

    def to_type_hint(self) -> Any:
        """The type that this coder encodes."""
        return RecordBatch


class OffsetSpanCoder(coders.Coder):
    """Encodes an `OffsetSpan` as a tuple of its fields, in their order."""

    _TEXT, _NUMBER = coders.StrUtf8Coder(), coders.VarIntCoder()
    _FIELDS = coders.TupleCoder([_TEXT, _TEXT, _NUMBER, _NUMBER, _NUMBER, _NUMBER])

    def encode(self, value: OffsetSpan) -> bytes:
        """The fields of the span, in their order."""
        fields = (value.topic, value.topic_id, value.partition, value.origin, value.start, value.end)
        encoded: bytes = self._FIELDS.encode(fields)
        return encoded

    def decode(self, encoded: bytes) -> OffsetSpan:
        """The span in `encoded`."""
        return OffsetSpan(*self._FIELDS.decode(encoded))

    def is_deterministic(self) -> bool:
        """True: equal values have equal bytes."""
        return True

    def to_type_hint(self) -> Any:
        """The type that this coder encodes."""
        return OffsetSpan


class OffsetFrontierCoder(coders.Coder):
    """Encodes an `OffsetFrontier` as its position and its islands."""

    _NUMBER = coders.VarIntCoder()
    _FIELDS = coders.TupleCoder([_NUMBER, coders.IterableCoder(coders.TupleCoder([_NUMBER, _NUMBER]))])

    def encode(self, value: OffsetFrontier) -> bytes:
        """The position, then the islands as pairs of start and end."""
        encoded: bytes = self._FIELDS.encode((value.position, value.islands))
        return encoded

    def decode(self, encoded: bytes) -> OffsetFrontier:
        """The frontier in `encoded`."""
        position, islands = self._FIELDS.decode(encoded)
        return OffsetFrontier(position, tuple(islands))

    def is_deterministic(self) -> bool:
        """True: equal values have equal bytes."""
        return True

    def to_type_hint(self) -> Any:
        """The type that this coder encodes."""
        return OffsetFrontier


class PartitionCoder(coders.Coder):
    """Encodes a `Partition` as a tuple of its fields, in their order."""

    _TEXT = coders.StrUtf8Coder()
    _FIELDS = coders.TupleCoder([_TEXT, _TEXT, coders.VarIntCoder(), coders.BooleanCoder()])

    def encode(self, value: Partition) -> bytes:
        """The fields of the partition, in their order."""
        encoded: bytes = self._FIELDS.encode((value.topic, value.topic_id, value.partition, value.from_beginning))
        return encoded

    def decode(self, encoded: bytes) -> Partition:
        """The partition in `encoded`."""
        return Partition(*self._FIELDS.decode(encoded))

    def is_deterministic(self) -> bool:
        """True: equal values have equal bytes."""
        return True

    def to_type_hint(self) -> Any:
        """The type that this coder encodes."""
        return Partition


coders.registry.register_coder(RecordBatch, RecordBatchCoder)
coders.registry.register_coder(OffsetSpan, OffsetSpanCoder)
coders.registry.register_coder(Partition, PartitionCoder)
