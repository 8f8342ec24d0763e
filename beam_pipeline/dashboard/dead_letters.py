"""The last dead letters, with as much of their payload as a page can show."""

from __future__ import annotations

import codecs
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Message

from models.encoding.framing import MessageDecoder
from models.results.dead_letter import DeadLetter, decode_dead_letter
from models.text import clean_text, limit_text

MOST_LETTERS = 200
SHOWN_BYTES = 16_384
_SHOWN_HEADERS, _SHOWN_TEXT = 50, 400
_HEX_BYTES = 512
_LISTED = 50


@dataclass(frozen=True)
class _Kept:
    letter: DeadLetter
    size: int | None


class DeadLetters:
    """Takes dead letters, and keeps the last ones. Thread-safe.

    Args:
      registered: reads letters that name their schema in a registry; None without a registry.
    """

    def __init__(self, registered: MessageDecoder | None = None) -> None:
        self._registered = registered
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._replayed: OrderedDict[str, None] = OrderedDict()
        self.malformed = 0

    def take(self, messages: Sequence[Message]) -> None:
        """Adds the letters in these messages."""
        for message in messages:
            if message.value() is None and message.key() is not None:
                self._mark_replayed(message.key().decode("utf-8", "replace"))
                continue
            try:
                letter = decode_dead_letter(message.value() or b"", self._registered)
            except ValueError:
                self.malformed += 1
                continue
            self._keep(f"{message.partition()}-{message.offset()}", letter)

    def listed(self) -> dict[str, Any]:
        """The last letters as JSON, the newest first, without their payload."""
        with self._lock:
            newest = list(reversed(self._kept.items()))[:_LISTED]
            letters = [_summary(identity, kept, self._replayed) for identity, kept in newest]
            return {"letters": letters, "kept": len(self._kept), "malformed": self.malformed}

    def payload(self, identity: str) -> dict[str, Any] | None:
        """One letter as JSON, with its payload; None if it is no longer kept."""
        with self._lock:
            kept = self._kept.get(identity)
            return None if kept is None else {**_summary(identity, kept, self._replayed), **_content(kept)}

    def _keep(self, identity: str, letter: DeadLetter) -> None:
        size = None if letter.value is None else len(letter.value)
        with self._lock:
            self._kept[identity] = _Kept(_limited(letter), size)
            if len(self._kept) > MOST_LETTERS:
                self._kept.popitem(last=False)

    def _mark_replayed(self, coordinates: str) -> None:
        with self._lock:
            self._replayed[limit_text(coordinates, _SHOWN_TEXT)] = None
            if len(self._replayed) > MOST_LETTERS:
                self._replayed.popitem(last=False)


def _limited(letter: DeadLetter) -> DeadLetter:
    return DeadLetter(
        clean_text(letter.reason),
        clean_text(letter.topic, _SHOWN_TEXT),
        letter.partition,
        letter.offset,
        letter.timestamp,
        _cut(letter.key, _HEX_BYTES),
        _cut(letter.value, SHOWN_BYTES),
        tuple(
            (clean_text(name, _SHOWN_TEXT), _cut(value, _SHOWN_TEXT)) for name, value in letter.headers[:_SHOWN_HEADERS]
        ),
        letter.rejected_at,
    )


def _cut(content: bytes | None, limit: int) -> bytes | None:
    return None if content is None else content[:limit]


def _summary(identity: str, kept: _Kept, replayed: OrderedDict[str, None]) -> dict[str, Any]:
    letter = kept.letter
    return {
        "id": identity,
        "reason": letter.reason,
        "record": f"{letter.topic}-{letter.partition}@{letter.offset}",
        "at": letter.rejected_at,
        "size": kept.size,
        "replayed": letter.coordinates in replayed,
    }


def _content(kept: _Kept) -> dict[str, Any]:
    letter = kept.letter
    return {
        "timestamp": letter.timestamp,
        "key": legible_bytes(letter.key),
        "payload": payload_of(letter.value, kept.size),
        "headers": [[name, legible_bytes(value)] for name, value in letter.headers],
    }


def payload_of(content: bytes | None, size: int | None) -> dict[str, Any]:
    """Bytes for people: as text if they are text, and as a hexadecimal dump of their beginning.

    Args:
      content: the bytes, or their beginning.
      size: how many there were.
    """
    cut = content is not None and size is not None and len(content) < size
    return {
        "text": _text(content, cut),
        "hex": None if content is None else hex_dump(content[:_HEX_BYTES]),
        "cut": cut,
    }


def legible_bytes(content: bytes | None) -> str | None:
    r"""Bytes on one line; those that are not text are escaped.

    >>> legible_bytes(b"a\xff"), legible_bytes(None)
    ('a\\xff', None)
    """
    return None if content is None else clean_text(content.decode("utf-8", "backslashreplace"), _SHOWN_TEXT)


def hex_dump(content: bytes) -> str:
    r"""A dump of bytes: lines of the place, 16 bytes, and their printable ASCII characters.

    >>> hex_dump(b"wine\x00")
    '0000  77 69 6e 65 00                                   wine.'
    """
    lines = []
    for begin in range(0, len(content), 16):
        row = content[begin : begin + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{begin:04x}  {row.hex(' '):<47}  {text}")
    return "\n".join(lines)


def _text(content: bytes | None, cut: bool) -> str | None:
    """The content as text; None if it is not text in UTF-8 without control characters."""
    if content is None:
        return None
    try:
        # A character may have been cut apart.
        text = codecs.getincrementaldecoder("utf-8")().decode(content, final=not cut)
    except UnicodeDecodeError:
        return None
    return text if all(one.isprintable() or one in "\n\r\t" for one in text) else None
