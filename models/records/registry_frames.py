"""The wire format of Confluent's clients: how a message names its schema in a registry.

A message is the byte 0, the id of its schema in four bytes (big-endian), and the value. Newer clients put the schema's
GUID into the header `__value_schema_id` instead (the byte 1 and 16 bytes), and the value stands alone. The header may
also hold an id, and the frame before the value a GUID.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.records.batch import VALUE_SCHEMA_HEADER, Headers
from models.records.codecs.base import NO_VALUE
from models.records.registry import SchemaKey

_ID_MARK, _GUID_MARK = 0, 1
ID_FRAME, _GUID_FRAME = 5, 17
_ID = struct.Struct(">bI")


@dataclass(frozen=True)
class Frame:
    """How a message names its schema.

    Attributes:
      key: the id or the GUID of the schema.
      skipped: the number of bytes before the value.
    """

    key: SchemaKey
    skipped: int


def frame_of(number: int) -> bytes:
    """The bytes before the values of a schema.

    >>> frame_of(7).hex()
    '0000000007'
    """
    return _ID.pack(_ID_MARK, number)


def framed_id(message: bytes) -> int | None:
    r"""The schema id before the value of a message; None when there is none.

    >>> framed_id(b"\0\0\0\0\x07{}")
    7
    """
    framed = len(message) >= ID_FRAME and message[0] == _ID_MARK
    return int(_ID.unpack_from(message)[1]) if framed else None


def without_prefix(values: pa.BinaryArray, length: int) -> pa.BinaryArray:
    """The messages without their first bytes; none may be null or shorter. (Arrow's `binary_slice` fails on some.)

    Example:
      >>> without_prefix(pa.array([b"abc", b"de"], pa.binary()), 2).to_pylist()
      [b'c', b'']
    """
    starts = np.frombuffer(values.buffers()[1], np.int32, len(values) + 1, values.offset * 4)
    content = np.frombuffer(values.buffers()[2], np.uint8)[starts[0] : starts[-1]]
    offsets = starts - starts[0]
    kept = np.ones(len(content), np.bool_)
    for byte in range(length):
        kept[offsets[:-1] + byte] = False
    shorter = (offsets - length * np.arange(len(offsets))).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), len(values), [None, pa.py_buffer(shorter), pa.py_buffer(content[kept])])


def unframe(
    values: pa.BinaryArray, headers: Mapping[int, Headers]
) -> tuple[list[tuple[Frame, npt.NDArray[np.int64]]], dict[int, str]]:
    """The places of the messages of each schema, and the reasons why other messages name none."""
    starts = np.frombuffer(values.buffers()[1] or b"\0\0\0\0", np.int32, len(values) + 1, values.offset * 4)
    content = np.frombuffer(values.buffers()[2] or b"", np.uint8)
    content = np.concatenate([content, np.zeros(ID_FRAME, np.uint8)]) if len(content) < ID_FRAME else content
    begins, lengths = starts[:-1].astype(np.int64), np.diff(starts)
    framed = values.is_valid().to_numpy(zero_copy_only=False) & (lengths >= ID_FRAME)
    framed[framed] = content[begins[framed]] == _ID_MARK
    named, reasons = _named_by_headers(values, headers)
    framed[[*named, *reasons]] = False
    groups: dict[Frame, list[int]] = {}
    for place, frame in named.items():
        groups.setdefault(frame, []).append(place)
    for place in np.flatnonzero(~framed).tolist():
        if place not in named and place not in reasons:
            _unframe_one(values[place].as_py(), place, groups, reasons)
    found = [(frame, np.array(places, np.int64)) for frame, places in groups.items()]
    return [*_by_id(content, begins, np.flatnonzero(framed)), *found], reasons


def _by_id(
    content: npt.NDArray[np.uint8], begins: npt.NDArray[np.int64], places: npt.NDArray[np.int64]
) -> list[tuple[Frame, npt.NDArray[np.int64]]]:
    """The places of the messages of each id, among those that are framed with an id."""
    ids = np.zeros(len(places), np.int64)
    for byte in range(1, ID_FRAME):
        ids = ids << 8 | content[begins[places] + byte]
    if len(ids) and (ids == ids[0]).all():
        return [(Frame(int(ids[0]), ID_FRAME), places)]
    return [(Frame(number, ID_FRAME), places[ids == number]) for number in np.unique(ids).tolist()]


def _unframe_one(value: bytes | None, place: int, groups: dict[Frame, list[int]], reasons: dict[int, str]) -> None:
    """Adds a message that is not framed with an id to the groups, if it is framed with a GUID, or to the reasons."""
    if value is None:
        reasons[place] = NO_VALUE
    elif len(value) >= _GUID_FRAME and value[0] == _GUID_MARK:
        groups.setdefault(Frame(uuid.UUID(bytes=value[1:_GUID_FRAME]), _GUID_FRAME), []).append(place)
    else:
        reasons[place] = f"it is not framed with a schema id; its first bytes are {value[:ID_FRAME].hex() or 'none'}"


def _named_by_headers(
    values: pa.BinaryArray, headers: Mapping[int, Headers]
) -> tuple[dict[int, Frame], dict[int, str]]:
    """The messages with a value whose schema a header names, and the reasons why headers cannot be read."""
    named, reasons = {}, {}
    for place, one in headers.items():
        content = next((content for name, content in one if name == VALUE_SCHEMA_HEADER), None)
        if content is None or not values[place].is_valid:
            continue
        if len(content) == _GUID_FRAME and content[0] == _GUID_MARK:
            named[place] = Frame(uuid.UUID(bytes=content[1:]), 0)
        elif len(content) == ID_FRAME and content[0] == _ID_MARK:
            named[place] = Frame(_ID.unpack(content)[1], 0)
        else:
            reasons[place] = (
                f"its header {VALUE_SCHEMA_HEADER} is not a schema id: {content[:_GUID_FRAME].hex() or 'empty'}"
            )
    return named, reasons
