"""The parts of Avro's binary encoding that results need, for whole columns at once.

A general writer walks the schema for every value of every record. Results are written a batch at a time instead: the
parts that all records of a batch share are encoded once, and arrays of floats are copied from memory as they are.
(Avro specification 1.12, "Binary encoding"; the tests decode everything with fastavro.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.tensors import Array

NULL = b"\x00"
END_OF_BLOCKS = b"\x00"
_SHIFTS = np.arange(0, 70, 7).astype(np.uint64)  # of the seven payload bits in each of the ten bytes of a varint


def encode_long(value: int) -> bytes:
    """Int and long: zig-zag encoded, then seven bits per byte, lowest bits first.

    Small numbers, such as lengths and counts, recur and are cached. Large ones, such as offsets, do not.

    Raises:
      OverflowError: when the value needs more than 64 bits.

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


def encode_longs(values: Sequence[int]) -> list[bytes]:
    r"""Encodes many non-negative ints or longs, such as offsets, each on its own.

    Example:
      >>> encode_longs([0, 1, 64])
      [b'\x00', b'\x02', b'\x80\x01']
    """
    rest = np.array(values, np.uint64) << np.uint64(1)
    groups = (rest[:, None] >> _SHIFTS) & np.uint64(0x7F)
    last = np.where(rest > 0, _SHIFTS.size - 1 - np.argmax(groups[:, ::-1] != 0, axis=1), 0)
    groups |= np.where(np.arange(_SHIFTS.size) < last[:, None], np.uint64(0x80), np.uint64(0))
    flat = groups.astype(np.uint8).tobytes()
    return [flat[at : at + end + 1] for at, end in zip(range(0, len(flat), _SHIFTS.size), last.tolist(), strict=True)]


def encode_bytes(value: bytes) -> bytes:
    r"""bytes: the length, then the bytes.

    >>> encode_bytes(b"\x01\x02")
    b'\x04\x01\x02'
    """
    return encode_long(len(value)) + value


def encode_string(value: str) -> bytes:
    r"""string: as bytes, in UTF-8.

    >>> encode_string("wine")
    b'\x08wine'
    """
    return encode_bytes(value.encode())


def encode_optional(value: str | int | None) -> bytes:
    r"""The union of null and a string or a long, null first.

    >>> encode_optional(None), encode_optional(3), encode_optional("a")
    (b'\x00', b'\x02\x06', b'\x02\x02a')
    """
    if value is None:
        return NULL
    return b"\x02" + (encode_long(value) if isinstance(value, int) else encode_string(value))


def encode_array(count: int, items: bytes) -> bytes:
    r"""array: one block of `count` already encoded items, then the end of the array.

    >>> encode_array(2, encode_long(1) + encode_long(2))
    b'\x04\x02\x04\x00'
    >>> encode_array(0, b"")
    b'\x00'
    """
    return encode_long(count) + items + END_OF_BLOCKS if count else END_OF_BLOCKS


def item_width(array: Array) -> int | None:
    """The number of bytes of each item of this array in Avro; None if it depends on the value.

    >>> item_width(np.zeros(3, np.float32)), item_width(np.zeros(3, np.int64))
    (4, None)
    """
    if array.dtype.kind == "f":
        return min(max(array.dtype.itemsize, 4), 8)
    return 1 if array.dtype.kind == "b" else None


def encode_fixed_items(array: Array) -> bytes:
    """All items of an array of floats or booleans, in row-major order; half precision becomes float."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8).tobytes()
    return array.astype("<f8" if array.dtype.itemsize >= 8 else "<f4").tobytes()


def encode_items(array: Array) -> bytes:
    """All items of an array in row-major order: integers, strings, bytes, or any dtype of `encode_fixed_items`."""
    if item_width(array) is not None:
        return encode_fixed_items(array)
    if array.dtype.kind in "iu":
        return b"".join(map(encode_long, array.ravel().tolist()))
    return b"".join(encode_bytes(item if isinstance(item, bytes) else str(item).encode()) for item in array.ravel())
