"""Server-sent events: once a second, every open page gets the sections that have changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from beam_pipeline.dashboard.followed import RECENT_SECONDS, FollowedTopics
from beam_pipeline.dashboard.json_bytes import json_bytes

MOST_PAGES = 50
_SECONDS = 1.0


class LiveUpdates:
    """Serializes the sections once a second for all pages, as long as there are any. Used in one event loop.

    Args:
      followed: the state to show.
      fixed: what never changes, as JSON: the section `setup`.
    """

    def __init__(self, followed: FollowedTopics, fixed: dict[str, Any]) -> None:
        self._followed = followed
        self._fixed = fixed
        self._pages = 0
        self._current: dict[str, bytes] = {}
        self._renewed_at = -_SECONDS
        self._lock = asyncio.Lock()

    @property
    def is_full(self) -> bool:
        """Whether no further page may be opened."""
        return self._pages >= MOST_PAGES

    async def stream(self) -> AsyncIterator[bytes]:
        """The events of one page: first every section and all rows, then what changes."""
        self._pages += 1
        try:
            yield b"retry: 2000\n\n" + _event("setup", json_bytes(self._fixed))
            rows = await asyncio.to_thread(self._followed.rows)
            yield _event("rows", json_bytes(rows))
            sent: dict[str, bytes] = {}
            last = _last_second(rows)
            while True:
                sections = await self._sections()
                changed = [_event(name, content) for name, content in sections.items() if sent.get(name) != content]
                sent = sections
                rows = await asyncio.to_thread(self._followed.rows, last - RECENT_SECONDS)
                last = max(last, _last_second(rows))
                yield b"".join([*changed, _event("rows", json_bytes(rows))])
                await asyncio.sleep(_SECONDS)
        finally:
            self._pages -= 1

    async def _sections(self) -> dict[str, bytes]:
        now = asyncio.get_running_loop().time()
        async with self._lock:
            if now - self._renewed_at >= _SECONDS * 0.9:
                self._current = await asyncio.to_thread(self._serialized)
                self._renewed_at = now
            return self._current

    def _serialized(self) -> dict[str, bytes]:
        return {name: json_bytes(section) for name, section in self._followed.sections().items()}


def _event(name: str, content: bytes) -> bytes:
    # JSON has no line breaks, so the content is one line.
    return b"event: " + name.encode() + b"\ndata: " + content + b"\n\n"


def _last_second(rows: dict[str, Any]) -> int:
    return rows["rows"][-1]["at"] if rows["rows"] else 0
