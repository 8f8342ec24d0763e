"""The framing of TFRecord files."""

from __future__ import annotations

import struct

import google_crc32c

_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8


def framed(record: bytes) -> bytes:
    """A record as it is in a TFRecord file: its length, the checksum of the length, the record, and its checksum."""
    length = _LENGTH.pack(len(record))
    return b"".join((length, _checksum(length), record, _checksum(record)))


def _checksum(content: bytes) -> bytes:
    """CRC32C, masked as in LevelDB, because a checksum of data with checksums in them is weak."""
    value = int(google_crc32c.value(content))
    return _CHECKSUM.pack(((value >> 15 | value << 17) + _MASK_DELTA) & 0xFFFFFFFF)
