"""Cursors over many Avro messages at once: one position per message, moved by operations on whole columns.

All messages of a batch lie one after the other in one buffer. Each value is read for all messages together, so a field
costs a handful of numpy calls for the batch instead of one call per record. (Avro specification 1.12, "Binary
encoding".)

A message that turns out to be malformed is set aside: its cursor is parked in the zeros behind the buffer, where every
type reads as a valid empty value, so the other messages are not affected.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Longs = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_CONTINUED = np.uint64(0x8080808080808080)
_SEVEN_BITS = np.uint64(0x7F)
_ONE = np.uint64(1)
# Zeros behind the messages, more than the widest value that is read at once.
_PADDING = 2_048
# The number of bytes that justify one step; messages that need more steps are read one by one.
_BYTES_A_STEP = 256
# From this length on, slices are joined instead of gathered byte by byte.
_LONG_TEXT = 48


class Cursors:
    """The read positions in the messages of a batch, and which messages are malformed.

    Args:
      content: the messages, one after the other.
      starts: int64 [n + 1]: message i has the bytes starts[i] to starts[i + 1].
      steps: the number of steps that are allowed before `exhausted`, on top of those that the bytes justify.
    """

    def __init__(self, content: Bytes, starts: Longs, steps: int) -> None:
        # One byte behind the last message, because a cursor at the end of that message is not parked.
        self._padding = len(content) + 1
        self._data = np.zeros(self._padding + _PADDING, np.uint8)
        self._data[: len(content)] = content
        self.position = starts[:-1].astype(np.int64)
        self._end = starts[1:].astype(np.int64)
        self.errors: dict[int, str] = {}
        self.deferred: set[int] = set()
        self._any_parked = False
        self._empty_items: Longs | None = None
        self._steps_left = steps + len(content) // _BYTES_A_STEP
        self._views: dict[str, npt.NDArray[Any]] = {}

    def _view(self, dtype: str) -> npt.NDArray[Any]:
        """A view of the values of that type at every byte, aligned or not."""
        if dtype not in self._views:
            size = np.dtype(dtype).itemsize
            self._views[dtype] = np.ndarray((len(self._data) - size,), dtype, self._data, strides=(1,))
        return self._views[dtype]

    @cached_property
    def _terminators(self) -> Longs:
        """The places of all bytes that can end a varint."""
        return np.flatnonzero(self._data < 0x80)

    def exhausted(self, steps: int) -> bool:
        """Counts steps, and returns whether there have been too many."""
        self._steps_left -= steps
        return self._steps_left < 0

    def fail(self, rows: Longs, failed: Mask, reason: str) -> None:
        """Sets messages aside as malformed."""
        for row in rows[failed].tolist():
            self.errors.setdefault(row, reason)
        self._park(rows[failed])

    def defer(self, rows: Longs) -> None:
        """Sets aside messages that the row reader reads faster."""
        self.deferred.update(row for row in rows.tolist() if row not in self.errors)
        self._park(rows)

    def _park(self, rows: Longs) -> None:
        self._any_parked = True
        self.position[rows] = self._padding
        self._end[rows] = len(self._data)

    def parked(self, rows: Longs) -> Mask:
        """Whether each of these messages is set aside."""
        parked: Mask = self.position[rows] >= self._padding
        return parked

    def zero_where_parked(self, rows: Longs, numbers: Longs) -> Longs:
        """The numbers, replaced by 0 for messages that are set aside."""
        return np.where(self.parked(rows), 0, numbers) if self._any_parked else numbers

    def finish(self) -> None:
        """Fails messages that have bytes left."""
        left = self._end - self.position
        for row in np.flatnonzero((left > 0) & (self.position < self._padding)).tolist():
            self.errors.setdefault(row, f"{left[row]} bytes follow its end")

    def left(self, rows: Longs) -> Longs:
        """The number of bytes that each message has left."""
        return self._end[rows] - self.position[rows]

    def _advance(self, rows: Longs, by: Longs | int) -> None:
        """Moves cursors forward; messages that are too short are malformed. Parked messages are not moved."""
        moved = self.position[rows] + by
        beyond = moved > self._end[rows]
        if self._any_parked:
            parked = self.parked(rows)
            moved[parked] = self._padding
            beyond &= ~parked
        self.position[rows] = moved
        if beyond.any():
            self.fail(rows, beyond, "it ends in the middle of a value")

    def longs(self, rows: Longs) -> Longs:
        """The next int or long of each message, int64."""
        values, lengths = self._varints_at(rows, self.position[rows])
        self._advance(rows, lengths)
        return values

    def _varints_at(self, rows: Longs, begins: Longs) -> tuple[Longs, Longs]:
        """The zig-zag varints at `begins`, and their lengths; `rows` are the messages that they belong to."""
        words: npt.NDArray[np.uint64] = self._view("<u8")[begins]
        last = ~words & _CONTINUED
        last &= -last  # the lowest bit that is set: the end of the first byte without a continuation
        within = last ^ (last - _ONE)
        lengths = (np.bitwise_count(within) >> 3).astype(np.int64)
        words &= within
        values = words & _SEVEN_BITS
        longest = int(lengths.max(initial=0))
        for place in range(1, longest):
            values |= (words >> np.uint64(8 * place) & _SEVEN_BITS) << np.uint64(7 * place)
        long = last == 0
        if long.any():
            self._long_varints(rows, begins, np.flatnonzero(long), values, lengths)
        decoded = (values >> _ONE).view(np.int64) ^ -(values & _ONE).view(np.int64)
        return decoded, lengths

    def _long_varints(
        self, rows: Longs, begins: Longs, places: Longs, values: npt.NDArray[np.uint64], lengths: Longs
    ) -> None:
        """Varints of nine and ten bytes; `values` holds seven bits of each of their first eight bytes."""
        begins = begins[places]
        ninth = self._data[begins + 8].astype(np.uint64)
        tenth = np.where(ninth < 0x80, np.uint64(0), self._data[begins + 9])
        values[places] |= (ninth & _SEVEN_BITS) << np.uint64(56) | tenth << np.uint64(63)
        lengths[places] = np.where(ninth < 0x80, 9, 10)
        wrong = tenth > 1
        if wrong.any():
            self.fail(rows[places], wrong, "an integer does not fit 64 bits")
            values[places[wrong]] = lengths[places[wrong]] = 0

    def long_runs(self, rows: Longs, counts: Longs) -> Longs:
        """A number of consecutive ints or longs of each message, message by message."""
        ends = self._terminators
        first = np.searchsorted(ends, self.position[rows])
        last = first + counts - 1
        short = last >= len(ends)
        np.minimum(last, len(ends) - 1, out=last)
        short |= ends[last] >= self._end[rows]
        if short.any():
            self.fail(rows, short & (counts > 0), "it ends in the middle of an array")
            raise TruncatedError(short & (counts > 0))
        total = int(counts.sum())
        offsets = np.cumsum(counts) - counts
        item_ends = ends[np.repeat(first - offsets, counts) + np.arange(total)]
        begins = np.empty(total, np.int64)
        begins[1:] = item_ends[:-1] + 1
        begins[offsets[counts > 0]] = self.position[rows[counts > 0]]
        values, _ = self._varints_at(np.repeat(rows, counts), begins)
        self._advance(rows, np.where(counts > 0, ends[last] + 1 - self.position[rows], 0))
        return values

    def numbers(self, rows: Longs, dtype: str) -> npt.NDArray[np.generic]:
        """The next value of a fixed size of each message."""
        values = self._view(dtype)[self.position[rows]]
        self._advance(rows, np.dtype(dtype).itemsize)
        return values

    def number_runs(self, rows: Longs, counts: Longs, dtype: str) -> npt.NDArray[np.generic]:
        """A number of consecutive values of a fixed size of each message, message by message."""
        size = np.dtype(dtype).itemsize
        short = counts * size > self.left(rows)
        if short.any():
            self.fail(rows, short, "it ends in the middle of an array")
            raise TruncatedError(short)
        offsets = np.cumsum(counts) - counts
        begins = np.repeat(self.position[rows] - offsets * size, counts) + np.arange(int(counts.sum())) * size
        values = self._view(dtype)[begins]
        self._advance(rows, counts * size)
        return values

    def count_empty_items(self, rows: Longs, counts: Longs, most: int) -> Mask:
        """Counts items that take no bytes, and returns which messages have too many."""
        if self._empty_items is None:
            self._empty_items = np.zeros(len(self.position), np.int64)
        wrong: Mask = counts > most - self._empty_items[rows]
        self._empty_items[rows] += np.where(wrong, 0, counts)
        return wrong

    def slices(self, rows: Longs, lengths: Longs) -> tuple[pa.Buffer, pa.Buffer]:
        """The next bytes of each message: int32 offsets and content, as in Arrow's binary arrays."""
        wrong = (lengths < 0) | (lengths > self.left(rows))
        if wrong.any():
            self.fail(rows, wrong, "a length reaches beyond its end")
            lengths = np.where(wrong, 0, lengths)
        begins = self.position[rows]
        offsets = np.zeros(len(rows) + 1, np.int32)
        np.cumsum(lengths, out=offsets[1:])
        total = int(offsets[-1])
        if total > _LONG_TEXT * len(rows):
            view = memoryview(self._data)  # type: ignore[arg-type]  # numpy's stubs do not name the protocol
            pairs = zip(begins.tolist(), lengths.tolist(), strict=True)
            content = b"".join([view[begin : begin + length] for begin, length in pairs])
            buffer = pa.py_buffer(content)
        else:
            places = np.repeat(begins - offsets[:-1], lengths) + np.arange(total)
            buffer = pa.py_buffer(self._data[places])
        self._advance(rows, lengths)
        return pa.py_buffer(offsets), buffer


class TruncatedError(Exception):
    """Some messages turned out to be malformed and were set aside; no items are read for those in the mask."""

    def __init__(self, rows: Mask) -> None:
        super().__init__()
        self.rows = rows
