"""Decodes Avro's binary encoding to Arrow columns, a whole batch at a time.

A schema becomes a tree of readers, each of which reads one value of every message (`avro_cursors`). A field therefore
costs the same number of numpy calls for one record as for two thousand. An array of numbers is read in one go, however
long it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.records.codecs.avro_cursors import Cursors, Longs, TruncatedError
from models.records.codecs.avro_rows import MOST_EMPTY_ITEMS
from models.records.codecs.avro_types import AvroType

_NUMBERS = {"boolean": "u1", "float": "<f4", "double": "<f8"}
_INT_LIMIT = 1 << 31
_MOST_BLOCKS = 16
# Arrays whose items vary in size are read item by item. If an array has more than `_FEW_STEPS` items, and fewer than
# `_FEW_MESSAGES` messages of the batch have that many, its message is left to the row reader.
_FEW_STEPS = 16
_FEW_MESSAGES = 8
# How often a batch may read each type of its schema, in addition to the steps that its bytes justify.
_STEPS_A_TYPE = 64


class ColumnReader:
    """Reads messages of one record type. It is stateless and therefore thread-safe.

    Args:
      kind: a record type.
    """

    def __init__(self, kind: AvroType) -> None:
        self._kind = kind

    def read(self, messages: pa.BinaryArray) -> tuple[pa.StructArray, dict[int, str], set[int]]:
        """Decodes messages, none of which may be null.

        Returns:
          One struct per message, the reason for each malformed message by place, and the places of the messages that
          the row reader must read. The structs of malformed and deferred messages are meaningless.
        """
        cursors, _ = self._cursors(messages)
        rows = np.arange(len(messages))
        column = _read(self._kind, cursors, rows)
        cursors.finish()
        return column, cursors.errors, cursors.deferred

    def _cursors(self, messages: pa.BinaryArray) -> tuple[Cursors, npt.NDArray[np.uint8]]:
        """Cursors at the beginning of the messages, and their bytes, one message after the other."""
        starts = np.frombuffer(messages.buffers()[1], np.int32, len(messages) + 1, messages.offset * 4)
        content = np.frombuffer(messages.buffers()[2] or b"", np.uint8)[starts[0] : starts[-1]]
        steps = _STEPS_A_TYPE * self._kind.breadth
        return Cursors(content, starts.astype(np.int64) - int(starts[0]), steps), content

    def split(self, messages: pa.BinaryArray) -> FieldBytes:
        """Decodes messages, none of which may be null, and locates each field in their bytes."""
        cursors, content = self._cursors(messages)
        rows = np.arange(len(messages))
        bounds, columns = [cursors.position.copy()], []
        for child in self._kind.children:
            columns.append(_read(child, cursors, rows))
            bounds.append(cursors.position.copy())
        cursors.finish()
        return FieldBytes(content.tobytes(), bounds, columns, cursors.errors, cursors.deferred)


@dataclass(frozen=True)
class FieldBytes:
    """Where the fields of each message lie in its bytes, and their values.

    Bounds and values are meaningless for malformed and deferred messages.

    Attributes:
      content: the messages, one after the other.
      bounds: where in `content` each field of each message begins; one more array says where the last field ends.
      columns: the values of each field.
      errors: the reason for each malformed message, by place.
      deferred: the places of the messages that the row reader must read.
    """

    content: bytes
    bounds: list[Longs]
    columns: list[pa.Array]
    errors: dict[int, str]
    deferred: set[int]


def _read(kind: AvroType, cursors: Cursors, rows: Longs) -> pa.Array:
    """The next value of each message of `rows`, as an array of the type's Arrow type."""
    if not len(rows):
        return pa.nulls(0, kind.arrow)
    return _READERS[kind.kind](kind, cursors, rows)


def _read_null(kind: AvroType, cursors: Cursors, rows: Longs) -> pa.Array:
    return pa.nulls(len(rows))


def _read_long(kind: AvroType, cursors: Cursors, rows: Longs) -> pa.Array:
    return pa.array(cursors.longs(rows))


def _read_int(kind: AvroType, cursors: Cursors, rows: Longs) -> pa.Array:
    return pa.array(_checked_ints(cursors, rows, cursors.longs(rows)))


def _checked_ints(cursors: Cursors, rows: Longs, values: Longs) -> Any:
    wrong = (values < -_INT_LIMIT) | (values >= _INT_LIMIT)
    if wrong.any():
        cursors.fail(rows, wrong, "an int does not fit 32 bits")
    return values.astype(np.int32)


def _read_number(kind: AvroType, cursors: Cursors, rows: Longs) -> pa.Array:
    values: Any = cursors.numbers(rows, _NUMBERS[kind.kind])
    return pa.array(values != 0 if kind.kind == "boolean" else values)


def _read_fixed(kind: AvroType, cursors: Cursors, rows: Longs) -> pa.Array:
    if not pa.types.is_fixed_size_binary(kind.arrow):
        offsets, content = cursors.slices(rows, cursors.zero_where_parked(rows, np.full(len(rows), kind.size)))
        return pa.Array.from_buffers(kind.arrow, len(rows), [None, offsets, content])
    if not kind.size:
        return pa.Array.from_buffers(kind.arrow, len(rows), [None, pa.py_buffer(b"")])
    values = cursors.numbers(rows, f"V{kind.size}")
    return pa.Array.from_buffers(kind.arrow, len(rows), [None, pa.py_buffer(values.tobytes())])


def _read_bytes(kind: AvroType, cursors: Cursors, rows: Longs) -> pa.Array:
    offsets, content = cursors.slices(rows, cursors.longs(rows))
    return pa.Array.from_buffers(pa.binary(), len(rows), [None, offsets, content])


def _read_string(kind: AvroType, cursors: Cursors, rows: Longs) -> pa.Array:
    offsets, content = cursors.slices(rows, cursors.longs(rows))
    texts = pa.Array.from_buffers(pa.string(), len(rows), [None, offsets, content])
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return _repaired_texts(texts, cursors, rows)
    return texts


def _repaired_texts(texts: pa.StringArray, cursors: Cursors, rows: Longs) -> pa.Array:
    repaired = []
    wrong = np.zeros(len(rows), np.bool_)
    for place, text in enumerate(texts.view(pa.binary()).to_pylist()):
        try:
            repaired.append(text.decode())
        except UnicodeDecodeError:
            repaired.append("")
            wrong[place] = True
    cursors.fail(rows, wrong, "a string is not UTF-8")
    return pa.array(repaired, pa.string())


def _read_enum(kind: AvroType, cursors: Cursors, rows: Longs) -> pa.Array:
    places = _within(cursors, rows, len(kind.names), "an enum has no such symbol")
    return pa.array(kind.names, pa.string()).take(pa.array(places))


def _within(cursors: Cursors, rows: Longs, count: int, reason: str) -> Longs:
    """The next long of each message, which must be below `count`."""
    places = cursors.longs(rows)
    wrong = (places < 0) | (places >= count)
    if wrong.any():
        cursors.fail(rows, wrong, reason)
        places = np.where(wrong, 0, places)
    return places


def _read_record(kind: AvroType, cursors: Cursors, rows: Longs) -> pa.Array:
    columns = [_read(child, cursors, rows) for child in kind.children]
    if not columns:
        return pa.Array.from_buffers(kind.arrow, len(rows), [None])
    return pa.StructArray.from_arrays(columns, fields=list(kind.arrow))


def _read_union(kind: AvroType, cursors: Cursors, rows: Longs) -> pa.Array:
    branches = _within(cursors, rows, len(kind.children), "a union has no such branch")
    if kind.arrow == pa.null():
        return pa.nulls(len(rows))
    if kind.nullable_branch is not None:
        return _read_optional(kind, cursors, rows, branches)
    children, places = [], np.zeros(len(rows), np.int32)
    for number, child in enumerate(kind.children):
        chosen = np.flatnonzero(branches == number)
        children.append(_read(child, cursors, rows[chosen]))
        places[chosen] = np.arange(len(chosen))
    names = [child.name for child in kind.children]
    return pa.UnionArray.from_dense(pa.array(branches.astype(np.int8)), pa.array(places), children, names)


def _read_optional(kind: AvroType, cursors: Cursors, rows: Longs, branches: Longs) -> pa.Array:
    assert kind.nullable_branch is not None
    chosen = np.flatnonzero(branches == kind.nullable_branch)
    values = _read(kind.children[kind.nullable_branch], cursors, rows[chosen])
    if len(chosen) == len(rows):
        return values
    places = np.zeros(len(rows), np.int64)
    places[chosen] = np.arange(len(chosen))
    return values.take(pa.array(places, mask=branches != kind.nullable_branch))


def _read_array(kind: AvroType, cursors: Cursors, rows: Longs) -> pa.Array:
    (item,) = kind.children
    items, bounds = _read_blocks(item, cursors, rows, _item_reader(item))
    return pa.ListArray.from_arrays(pa.array(bounds), items)


def _read_map(kind: AvroType, cursors: Cursors, rows: Longs) -> pa.Array:
    entries, bounds = _read_blocks(kind.entry, cursors, rows, _read_runs)
    # `flatten` would crash the process if a struct in a union has been through `take` (Arrow 25).
    return pa.MapArray.from_arrays(pa.array(bounds), entries.field(0), entries.field(1))


RunReader = Callable[[AvroType, Cursors, Longs, Longs], pa.Array]


def _item_reader(item: AvroType) -> RunReader:
    if item.kind in ("long", "int"):
        return _read_long_runs
    if item.kind in _NUMBERS:
        return _read_number_runs
    return _read_runs if item.least_bytes else _read_empty_runs


def _read_blocks(item: AvroType, cursors: Cursors, rows: Longs, read: RunReader) -> tuple[pa.Array, Any]:
    """The items of the next array of each message, message by message, and the bounds of each message's items."""
    lengths = np.zeros(len(rows), np.int64)
    pieces, owners = [], []
    active = np.arange(len(rows))
    for _ in range(_MOST_BLOCKS):
        counts = _block_counts(item, cursors, rows[active])
        if not counts.all():
            active, counts = active[counts > 0], counts[counts > 0]
        if not len(active):
            break
        items, counts = _read_block(item, cursors, rows[active], counts, read)
        lengths[active] += counts
        pieces.append(items)
        owners.append((active, counts))
    else:
        cursors.defer(rows[active])
    bounds = np.zeros(len(rows) + 1, np.int32)
    np.cumsum(lengths, out=bounds[1:])
    return _joined(item, pieces, [np.repeat(*pair) for pair in owners] if len(pieces) > 1 else []), bounds


def _joined(kind: AvroType, pieces: list[pa.Array], owners: list[Longs]) -> pa.Array:
    """Joins pieces to one array, sorted by owner; the pieces of an owner keep their order."""
    if not pieces:
        return pa.nulls(0, kind.arrow)
    if len(pieces) == 1:
        return pieces[0]
    order = np.argsort(np.concatenate(owners), kind="stable")
    return pa.concat_arrays(pieces).take(pa.array(order))


def _block_counts(item: AvroType, cursors: Cursors, rows: Longs) -> Longs:
    """The number of items of the next block of each message; 0 at the end of the array and for malformed messages."""
    counts = cursors.longs(rows)
    if counts.min(initial=0) < 0:
        cursors.longs(rows[counts < 0])  # the block's size in bytes follows, for readers that skip it
        counts = np.abs(counts)
    least = item.least_bytes
    wrong = counts > (cursors.left(rows) // least if least else MOST_EMPTY_ITEMS)
    wrong |= counts < 0  # the smallest long has no absolute value
    if not least:
        wrong |= cursors.count_empty_items(rows, counts, MOST_EMPTY_ITEMS)
    if wrong.any():
        cursors.fail(rows, wrong, "an array has more items than bytes are left")
    return cursors.zero_where_parked(rows, counts)


def _read_block(
    item: AvroType, cursors: Cursors, rows: Longs, counts: Longs, read: RunReader
) -> tuple[pa.Array, Longs]:
    """The items of one block of each message; none for a message that ends inside the block."""
    while True:
        try:
            return read(item, cursors, rows, counts), counts
        except TruncatedError as truncated:
            counts = np.where(truncated.rows, 0, counts)


def _read_long_runs(item: AvroType, cursors: Cursors, rows: Longs, counts: Longs) -> pa.Array:
    values = cursors.long_runs(rows, counts)
    return pa.array(_checked_ints(cursors, np.repeat(rows, counts), values) if item.kind == "int" else values)


def _read_number_runs(item: AvroType, cursors: Cursors, rows: Longs, counts: Longs) -> pa.Array:
    values: Any = cursors.number_runs(rows, counts, _NUMBERS[item.kind])
    return pa.array(values != 0 if item.kind == "boolean" else values)


def _read_empty_runs(item: AvroType, cursors: Cursors, rows: Longs, counts: Longs) -> pa.Array:
    """Items that take no bytes: reading moves no cursor."""
    return _read(item, cursors, np.repeat(rows, counts))


def _read_runs(item: AvroType, cursors: Cursors, rows: Longs, counts: Longs) -> pa.Array:
    """Reads the first item of all messages, then the second item of those that have two, and so on."""
    long = counts > _steps_worth(counts)
    if long.any():
        cursors.defer(rows[long])
        raise TruncatedError(long)
    pieces, owners = [], []
    for step in range(int(counts.max(initial=0))):
        active = np.flatnonzero(counts > step)
        if cursors.parked(rows[active]).all():  # items of malformed messages, which are meaningless
            left = counts[active] - step
            pieces.append(_read(item, cursors, rows[active[:1]]).take(pa.array(np.zeros(left.sum(), np.int64))))
            owners.append(np.repeat(active, left))
            break
        if cursors.exhausted(item.breadth):  # all of them, because finished ones cannot be read again
            cursors.defer(rows)
            raise TruncatedError(counts > 0)
        pieces.append(_read(item, cursors, rows[active]))
        owners.append(active)
    return _joined(item, pieces, owners)


def _steps_worth(counts: Longs) -> int:
    """The number of items after which too few messages have more to be read together."""
    if len(counts) <= _FEW_MESSAGES:
        return _FEW_STEPS
    return max(_FEW_STEPS, int(np.partition(counts, -_FEW_MESSAGES)[-_FEW_MESSAGES]))


_READERS: dict[str, Callable[[AvroType, Cursors, Longs], pa.Array]] = {
    "null": _read_null,
    "boolean": _read_number,
    "int": _read_int,
    "long": _read_long,
    "float": _read_number,
    "double": _read_number,
    "bytes": _read_bytes,
    "string": _read_string,
    "fixed": _read_fixed,
    "enum": _read_enum,
    "record": _read_record,
    "union": _read_union,
    "array": _read_array,
    "map": _read_map,
}
