"""Coders of the values that cross stages; importing this module registers them."""

from __future__ import annotations

from typing import Any

from apache_beam import coders

from models.kafka.offset_frontier import OffsetFrontier
from models.kafka.partition_reader import Partition
from models.records.batch import OffsetSpan, RecordBatch


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


class OffsetSpanCoder(coders.Coder):
    """`OffsetSpan` as its fields, in their order."""

    _TEXT, _NUMBER = coders.StrUtf8Coder(), coders.VarIntCoder()
    _FIELDS = coders.TupleCoder([_TEXT, _TEXT, _NUMBER, _NUMBER, _NUMBER, _NUMBER])

    def encode(self, value: OffsetSpan) -> bytes:
        fields = (value.topic, value.topic_id, value.partition, value.origin, value.start, value.end)
        encoded: bytes = self._FIELDS.encode(fields)
        return encoded

    def decode(self, encoded: bytes) -> OffsetSpan:
        return OffsetSpan(*self._FIELDS.decode(encoded))

    def is_deterministic(self) -> bool:
        return True

    def to_type_hint(self) -> Any:
        return OffsetSpan


class OffsetFrontierCoder(coders.Coder):
    """`OffsetFrontier` as its position and its islands."""

    _NUMBER = coders.VarIntCoder()
    _FIELDS = coders.TupleCoder([_NUMBER, coders.IterableCoder(coders.TupleCoder([_NUMBER, _NUMBER]))])

    def encode(self, value: OffsetFrontier) -> bytes:
        encoded: bytes = self._FIELDS.encode((value.position, value.islands))
        return encoded

    def decode(self, encoded: bytes) -> OffsetFrontier:
        position, islands = self._FIELDS.decode(encoded)
        return OffsetFrontier(position, tuple(islands))

    def is_deterministic(self) -> bool:
        return True

    def to_type_hint(self) -> Any:
        return OffsetFrontier


class PartitionCoder(coders.Coder):
    """`Partition` as its fields, in their order."""

    _TEXT = coders.StrUtf8Coder()
    _FIELDS = coders.TupleCoder([_TEXT, _TEXT, coders.VarIntCoder(), coders.BooleanCoder()])

    def encode(self, value: Partition) -> bytes:
        encoded: bytes = self._FIELDS.encode((value.topic, value.topic_id, value.partition, value.from_beginning))
        return encoded

    def decode(self, encoded: bytes) -> Partition:
        return Partition(*self._FIELDS.decode(encoded))

    def is_deterministic(self) -> bool:
        return True

    def to_type_hint(self) -> Any:
        return Partition


coders.registry.register_coder(RecordBatch, RecordBatchCoder)
coders.registry.register_coder(OffsetSpan, OffsetSpanCoder)
coders.registry.register_coder(Partition, PartitionCoder)
