"""The interface of what payloads are written to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from models.observing.payloads.payload import Payload


class Destination(Protocol):
    """Takes payloads. It is called on the one thread of the payload log, where it may wait for seconds.

    It counts what becomes of the payloads, and never raises.
    """

    def write(self, payloads: Sequence[Payload]) -> None:
        """Writes payloads."""

    def tick(self) -> None:
        """Called at least once a second: does what is due by the clock."""

    def close(self) -> None:
        """Writes what is left, within a few seconds."""
