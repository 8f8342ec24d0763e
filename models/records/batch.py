"""Records as they come from Kafka: columns of them, with their coordinates.

One element of the pipeline is one `RecordBatch`, a run of records of one partition. One element per record would cost
five to ten times as much.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Headers = tuple[tuple[str, bytes | None], ...]
# The headers in which newer clients of schema registries name the schemas of the value and of the key.
VALUE_SCHEMA_HEADER = "__value_schema_id"
KEY_SCHEMA_HEADER = "__key_schema_id"
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class OffsetSpan:
    """The run of offsets of one partition that one batch answers for.

    The spans of a partition tile it: each starts where the previous one ended, even if the offsets in between hold no
    records (transaction markers, compacted records, reported gaps).

    Attributes:
      topic: the topic.
      topic_id: the broker's identity of the topic, which changes when it is recreated; "" if the broker has none.
      partition: its partition.
      origin: the offset at which reading of the partition began.
      start: the first offset of the run.
      end: the offset after its last one.
    """

    topic: str
    topic_id: str
    partition: int
    origin: int
    start: int
    end: int


def _no_longs() -> Longs:
    return np.zeros(0, np.int64)


def _no_bytes() -> pa.BinaryArray:
    return pa.array([], pa.binary())


@dataclass(frozen=True, eq=False)
class RecordBatch:
    """Records of one partition, in the order of their offsets; each column has one entry for each record.

    Attributes:
      span: the offsets that this batch answers for; an empty batch may have an empty span.
      offsets: int64 [records], where each record is.
      timestamps: int64 [records], milliseconds since 1970-01-01 UTC, as the broker has them.
      keys: binary [records], null for a record without a key.
      values: binary [records], null where the value is empty (a tombstone).
      headers: the headers of records that have any, by place and in their order; names may be repeated.
      gap: a description of the records that are missing before `span.end`, because of retention or a recreated topic.
      committed: the offset that the group had committed when reading began, below which everything was done before; 0
        if there was none.
      taken: when the source emitted the batch, in nanoseconds since 1970-01-01 UTC by the clock of its machine; 0 if
        that is unknown.
    """

    span: OffsetSpan
    offsets: Longs = field(default_factory=_no_longs)
    timestamps: Longs = field(default_factory=_no_longs)
    keys: pa.BinaryArray = field(default_factory=_no_bytes)
    values: pa.BinaryArray = field(default_factory=_no_bytes)
    headers: Mapping[int, Headers] = field(default_factory=dict)
    gap: str | None = None
    committed: int = 0
    taken: int = 0

    @classmethod
    def of(
        cls,
        span: OffsetSpan,
        offsets: Sequence[int],
        timestamps: Sequence[int],
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        headers: Iterable[Headers] = (),
        gap: str | None = None,
        committed: int = 0,
    ) -> RecordBatch:
        """A batch from lists; `headers` has an entry for each record, or none at all."""
        return cls(
            span,
            np.array(offsets, np.int64),
            np.array(timestamps, np.int64),
            pa.array(keys, pa.binary()),
            pa.array(values, pa.binary()),
            {place: one for place, one in enumerate(headers) if one},
            gap,
            committed,
        )

    def __len__(self) -> int:
        return len(self.offsets)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecordBatch) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.span)

    def key(self, place: int) -> bytes | None:
        """The key of one record."""
        key: bytes | None = self.keys[place].as_py()
        return key

    def value(self, place: int) -> bytes | None:
        """The value of one record."""
        value: bytes | None = self.values[place].as_py()
        return value

    def to_bytes(self) -> bytes:
        """The columns one after the other, for `from_bytes`. Equal batches have equal bytes."""
        count = len(self.offsets)
        span = self.span
        topic = span.topic.encode()
        topic_id = span.topic_id.encode()
        gap = None if self.gap is None else self.gap.encode()
        lengths = len(topic), len(topic_id), _length(gap)
        ends = span.origin, span.start, span.end
        head = _HEAD.pack(count, span.partition, *ends, self.committed, self.taken, *lengths)
        parts = [
            head,
            topic,
            topic_id,
            gap or b"",
            self.offsets.astype("<i8").tobytes(),
            self.timestamps.astype("<i8").tobytes(),
            *_pack_column(self.keys),
            *_pack_column(self.values),
            _COUNT.pack(len(self.headers)),
            *(_pack_headers(place, self.headers[place]) for place in sorted(self.headers)),
        ]
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, content: bytes) -> RecordBatch:
        """The batch that `to_bytes` wrote; its columns share the memory of `content`."""
        head = _HEAD.unpack_from(content)
        count, partition, origin, start, end, committed, taken, topic_length, topic_id_length, gap_length = head
        at = _HEAD.size
        topic = content[at : at + topic_length].decode()
        at += topic_length
        topic_id = content[at : at + topic_id_length].decode()
        at += topic_id_length
        gap = None if gap_length < 0 else content[at : at + gap_length].decode()
        at += max(gap_length, 0)
        offsets = np.frombuffer(content, "<i8", count, at)
        timestamps = np.frombuffer(content, "<i8", count, at + 8 * count)
        at += 16 * count
        keys, at = _unpack_column(content, count, at)
        values, at = _unpack_column(content, count, at)
        headers = _unpack_all_headers(content, at)
        span = OffsetSpan(topic, topic_id, partition, origin, start, end)
        return cls(span, offsets, timestamps, keys, values, headers, gap, committed, taken)


_HEAD = struct.Struct("<iiqqqqqiii")
_COUNT = struct.Struct("<i")


def _length(value: bytes | None) -> int:
    return -1 if value is None else len(value)


def _pack_column(column: pa.BinaryArray) -> list[bytes | memoryview]:
    """The length of each value (-1 for null), followed by all values."""
    count = len(column)
    _, offsets_buffer, content = column.buffers()
    if not count or offsets_buffer is None:
        return []
    offsets = np.frombuffer(offsets_buffer, "<i4", count + 1, 4 * column.offset)
    lengths = np.diff(offsets)
    values = memoryview(content or b"")[offsets[0] : offsets[-1]]
    if column.null_count:
        null = column.is_null().to_numpy(zero_copy_only=False)
        if lengths[null].any():  # Arrow allows bytes behind a null, but equal batches must have equal bytes
            return _pack_column(pa.array(column.to_pylist(), pa.binary()))
        lengths = np.where(null, np.int32(-1), lengths)
    return [lengths.tobytes(), values]


def _unpack_column(content: bytes, count: int, at: int) -> tuple[pa.BinaryArray, int]:
    lengths = np.frombuffer(content, "<i4", count, at)
    at += 4 * count
    null = lengths < 0
    offsets = np.zeros(count + 1, np.int32)
    np.cumsum(np.maximum(lengths, 0), out=offsets[1:])
    end = at + int(offsets[-1])
    validity = pa.py_buffer(np.packbits(~null, bitorder="little").tobytes()) if null.any() else None
    buffers = [validity, pa.py_buffer(offsets), pa.py_buffer(content).slice(at, end - at)]
    return pa.Array.from_buffers(pa.binary(), count, buffers), end


def _pack_headers(index: int, headers: Headers) -> bytes:
    parts = [_COUNT.pack(index), _COUNT.pack(len(headers))]
    for name, value in headers:
        encoded = name.encode()
        parts += [_COUNT.pack(len(encoded)), encoded, _COUNT.pack(_length(value)), value or b""]
    return b"".join(parts)


def _unpack_all_headers(content: bytes, at: int) -> dict[int, Headers]:
    found = {}
    (with_headers,) = _COUNT.unpack_from(content, at)
    at += 4
    for _ in range(with_headers):
        (place,) = _COUNT.unpack_from(content, at)
        found[place], at = _unpack_headers(content, at + 4)
    return found


def _unpack_headers(content: bytes, at: int) -> tuple[Headers, int]:
    (pairs,) = _COUNT.unpack_from(content, at)
    at += 4
    headers = []
    for _ in range(pairs):
        name, at = _unpack_bytes(content, at)
        value, at = _unpack_bytes(content, at)
        headers.append(((name or b"").decode(), value))
    return tuple(headers), at


def _unpack_bytes(content: bytes, at: int) -> tuple[bytes | None, int]:
    (length,) = _COUNT.unpack_from(content, at)
    at += 4
    if length < 0:
        return None, at
    return content[at : at + length], at + length
