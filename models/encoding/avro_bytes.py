"""The parts of Avro's binary encoding that results need, for whole columns at once.

A general-purpose writer walks the schema for every value of every record. Results are written a batch at a time
instead: the parts that all records of a batch share are encoded once, and arrays of floats are copied straight from
memory.
(Avro specification 1.12, "Binary encoding"; the tests decode everything with fastavro.)
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from models.tensors import Array

NULL = b"\x00"
END_OF_BLOCKS = b"\x00"
# The smallest values that need two, three, ... ten bytes of seven bits.
_NEXT_WIDTHS = np.uint64(1) << np.arange(7, 70, 7, dtype=np.uint64)
_LARGEST_COLUMN = (1 << 31) - 1  # bytes: the offsets of Arrow's binary type have 32 bits


def encode_long(value: int) -> bytes:
    """Encodes an int or long: zig-zag, then seven bits per byte, lowest bits first.

    Small numbers, such as lengths and counts, recur and are cached; large ones, such as offsets, are not.

    Raises:
      OverflowError: the value needs more than 64 bits.

    >>> [encode_long(value).hex() for value in (0, -1, 1, 64)]
    ['00', '01', '02', '8001']
    """
    return _SMALL_LONGS[value] if 0 <= value < len(_SMALL_LONGS) else _encode_long(value)


def _encode_long(value: int) -> bytes:
    if not -(1 << 63) <= value < 1 << 63:
        raise OverflowError(f"{value} does not fit an Avro long")
    rest = (value << 1) ^ (value >> 63)
    encoded = bytearray()
    while rest > 0x7F:
        encoded.append((rest & 0x7F) | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


_SMALL_LONGS = tuple(map(_encode_long, range(4096)))


def encode_longs(values: Array) -> pa.BinaryArray:
    r"""Encodes many ints or longs, such as offsets, each on its own.

    Args:
      values: integers of any dtype and shape; they are encoded in row-major order.

    Raises:
      OverflowError: a value needs more than 64 bits.

    Example:
      >>> encode_longs(np.array([0, -1, 64])).to_pylist()
      [b'\x00', b'\x01', b'\x80\x01']
    """
    flat, ends = _varints(values)
    return _binary(flat, ends)


def _varints(values: Array) -> tuple[bytes, Array]:
    """The encoded values one after the other, and where each begins and the last one ends."""
    if values.dtype.kind == "u" and values.size and int(values.max()) >= 1 << 63:
        raise OverflowError(f"{values.max()} does not fit an Avro long")
    signed = values.ravel().astype(np.int64)
    rest = ((signed << 1) ^ (signed >> 63)).view(np.uint64)
    widths = 1 + np.searchsorted(_NEXT_WIDTHS, rest, side="right")
    widest = int(widths.max(initial=1))
    groups = np.empty((rest.size, widest), np.uint8)
    for place in range(widest):
        groups[:, place] = (rest >> np.uint64(7 * place)).astype(np.uint8) & 0x7F
    starts = np.zeros(rest.size + 1, np.int64)
    np.cumsum(widths, out=starts[1:])
    if starts[-1] == groups.size:  # as for offsets that follow each other
        groups[:, :-1] |= 0x80
        return groups.tobytes(), starts
    places = np.arange(widest)
    groups |= np.where(places < widths[:, None] - 1, np.uint8(0x80), np.uint8(0))
    return groups[places < widths[:, None]].tobytes(), starts


def _binary(content: bytes, bounds: Array) -> pa.BinaryArray:
    """The parts of `content` between the bounds, without a copy."""
    if len(content) > _LARGEST_COLUMN:
        raise OverflowError(f"{len(content)} bytes do not fit a column")
    buffers = [None, pa.py_buffer(bounds.astype(np.int32)), pa.py_buffer(content)]
    return pa.Array.from_buffers(pa.binary(), len(bounds) - 1, buffers)


def encode_bytes(value: bytes) -> bytes:
    r"""Encodes bytes: the length, then the bytes.

    >>> encode_bytes(b"\x01\x02")
    b'\x04\x01\x02'
    """
    return encode_long(len(value)) + value


def encode_string(value: str) -> bytes:
    r"""Encodes a string, as its bytes in UTF-8.

    >>> encode_string("wine")
    b'\x08wine'
    """
    return encode_bytes(value.encode())


def encode_optional(value: str | int | None) -> bytes:
    r"""Encodes a value of a union of null (the first branch) and a string or long.

    >>> encode_optional(None), encode_optional(3), encode_optional("a")
    (b'\x00', b'\x02\x06', b'\x02\x02a')
    """
    if value is None:
        return NULL
    return b"\x02" + (encode_long(value) if isinstance(value, int) else encode_string(value))


def encode_array(count: int, items: bytes) -> bytes:
    r"""Encodes an array: one block of `count` items that are already encoded, then the end of the array.

    >>> encode_array(2, encode_long(1) + encode_long(2))
    b'\x04\x02\x04\x00'
    >>> encode_array(0, b"")
    b'\x00'
    """
    return encode_long(count) + items + END_OF_BLOCKS if count else END_OF_BLOCKS


def item_width(array: Array) -> int | None:
    """The number of bytes that each item of this array takes in Avro; None if it depends on the value.

    >>> item_width(np.zeros(3, np.float32)), item_width(np.zeros(3, np.int64))
    (4, None)
    """
    if array.dtype.kind == "f":
        return min(max(array.dtype.itemsize, 4), 8)
    return 1 if array.dtype.kind == "b" else None


def encode_fixed_items(array: Array) -> bytes:
    """Encodes all items of an array of floats or booleans in row-major order; half precision becomes float."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8).tobytes()
    return array.astype("<f8" if array.dtype.itemsize >= 8 else "<f4").tobytes()


def encode_items(array: Array, bounds: Array) -> pa.BinaryArray:
    r"""Encodes the items of an array in row-major order, cut into runs: integers, strings, bytes, floats or booleans.

    Args:
      array: the items, of any shape.
      bounds: int64 [runs + 1], ascending: where in the flat array each run begins, and where the last one ends.

    Returns:
      binary [runs]: the encoded items of each run, without a count.

    Raises:
      OverflowError: an integer needs more than 64 bits, or all items together more than 2 GiB.

    Example:
      >>> encode_items(np.array([[1, 2], [3, 64]]), np.array([0, 1, 4])).to_pylist()
      [b'\x02', b'\x04\x06\x80\x01']
    """
    width = item_width(array)
    if width is not None:
        return _binary(encode_fixed_items(array), bounds * width)
    if array.dtype.kind in "iu":
        flat, starts = _varints(array)
        return _binary(flat, starts[bounds])
    items = [encode_bytes(item if isinstance(item, bytes) else str(item).encode()) for item in array.ravel()]
    starts = np.zeros(len(items) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, items), np.int64, len(items)), out=starts[1:])
    return _binary(b"".join(items), starts[bounds])
