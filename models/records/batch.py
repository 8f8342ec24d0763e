"""Records as they come from Kafka: lists of them, with their coordinates.

One element of the pipeline is one `RecordBatch`, a run of records of one partition: an element a record costs five
to ten times as much.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True)
class OffsetSpan:
    """A run of offsets of one partition, all of which one batch answers for.

    The spans of a partition tile it: each starts where the one before ended, also across offsets that hold no
    record (transaction markers, compacted records, reported gaps).

    Attributes:
      topic: the topic.
      topic_id: the broker's identity of the topic, which changes when it is made anew; "" where the broker tells none.
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


@dataclass(frozen=True)
class RecordBatch:
    """Records of one partition, in the order of their offsets; all lists have one entry a record.

    Attributes:
      span: the offsets that this batch answers for; an empty batch may have an empty span.
      offsets: where each record is.
      timestamps: milliseconds since 1970-01-01 UTC, as the broker has them.
      keys: None where there is no key.
      values: None where the value is empty (a tombstone).
      headers: in their order, also repeated names.
      gap: says what is missing before `span.end`, when records were lost to retention or to a new topic.
      committed: the offset that the group had committed when reading began: below it all was done before; 0: none.
    """

    span: OffsetSpan
    offsets: list[int] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)
    gap: str | None = None
    committed: int = 0

    def __len__(self) -> int:
        return len(self.offsets)

    def to_bytes(self) -> bytes:
        """Columns one after the other: what `from_bytes` reads. Equal batches have equal bytes."""
        count = len(self.offsets)
        span = self.span
        topic = span.topic.encode()
        topic_id = span.topic_id.encode()
        gap = None if self.gap is None else self.gap.encode()
        parts = [
            _HEAD.pack(
                count,
                span.partition,
                span.origin,
                span.start,
                span.end,
                self.committed,
                len(topic),
                len(topic_id),
                _length(gap),
            ),
            topic,
            topic_id,
            gap or b"",
            np.array(self.offsets, "<i8").tobytes(),
            np.array(self.timestamps, "<i8").tobytes(),
        ]
        for column in (self.keys, self.values):
            parts.append(np.fromiter(map(_length, column), "<i4", count).tobytes())
            parts.append(b"".join([value for value in column if value]))
        with_headers = [index for index, headers in enumerate(self.headers) if headers]
        parts.append(_COUNT.pack(len(with_headers)))
        parts.extend(_pack_headers(index, self.headers[index]) for index in with_headers)
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, content: bytes) -> RecordBatch:
        """The batch that `to_bytes` wrote."""
        head = _HEAD.unpack_from(content)
        count, partition, origin, start, end, committed, topic_length, topic_id_length, gap_length = head
        at = _HEAD.size
        topic = content[at : at + topic_length].decode()
        at += topic_length
        topic_id = content[at : at + topic_id_length].decode()
        at += topic_id_length
        gap = None if gap_length < 0 else content[at : at + gap_length].decode()
        at += max(gap_length, 0)
        offsets = np.frombuffer(content, "<i8", count, at).tolist()
        timestamps = np.frombuffer(content, "<i8", count, at + 8 * count).tolist()
        at += 16 * count
        keys, at = _unpack_column(content, count, at)
        values, at = _unpack_column(content, count, at)
        headers = _unpack_all_headers(content, count, at)
        span = OffsetSpan(topic, topic_id, partition, origin, start, end)
        return cls(span, offsets, timestamps, keys, values, headers, gap, committed)


_HEAD = struct.Struct("<iiqqqqiii")
_COUNT = struct.Struct("<i")


def _length(value: bytes | None) -> int:
    return -1 if value is None else len(value)


def _unpack_column(content: bytes, count: int, at: int) -> tuple[list[bytes | None], int]:
    lengths = np.frombuffer(content, "<i4", count, at)
    at += 4 * count
    ends = np.cumsum(np.maximum(lengths, 0)) + at
    column: list[bytes | None] = []
    for length, end in zip(lengths.tolist(), ends.tolist(), strict=True):
        column.append(None if length < 0 else content[end - length : end])
    return column, int(ends[-1]) if count else at


def _pack_headers(index: int, headers: Headers) -> bytes:
    parts = [_COUNT.pack(index), _COUNT.pack(len(headers))]
    for name, value in headers:
        encoded = name.encode()
        parts += [_COUNT.pack(len(encoded)), encoded, _COUNT.pack(_length(value)), value or b""]
    return b"".join(parts)


def _unpack_all_headers(content: bytes, count: int, at: int) -> list[Headers]:
    column: list[Headers] = [()] * count
    (with_headers,) = _COUNT.unpack_from(content, at)
    at += 4
    for _ in range(with_headers):
        (index,) = _COUNT.unpack_from(content, at)
        column[index], at = _unpack_headers(content, at + 4)
    return column


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


@dataclass(frozen=True)
class OutgoingMessage:
    """A message for the Kafka sink.

    Attributes:
      topic, key, value, headers: as they are sent.
      offset: of the record that it answers for; None: it answers for none.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    offset: int | None = None


@dataclass(frozen=True)
class OutgoingBatch:
    """All that one input batch gave, on whatever topics: it is acknowledged as a whole.

    Attributes:
      span: the offsets that are done when every message is acknowledged.
      messages: in the order in which they are sent.
    """

    span: OffsetSpan
    messages: list[OutgoingMessage]
