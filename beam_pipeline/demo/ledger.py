"""The records that still need an answer: each one must come back as a result."""

from __future__ import annotations


class Ledger:
    """The records that were sent and not answered yet, by sequence number. Not thread-safe.

    Attributes:
      sent, answered: the number of records sent, and of those answered.
      duplicates: the number of repeated answers, which at-least-once delivery allows.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.answered = 0
        self.duplicates = 0
        self._waiting: dict[int, float] = {}

    def send(self, now: float) -> int:
        """Registers a record that is sent now, and returns its sequence number."""
        sequence = self.sent
        self.sent += 1
        self._waiting[sequence] = now
        return sequence

    def answer(self, sequence: int, now: float) -> float | None:
        """Registers an answer, and returns the seconds since the record was sent; None for a duplicate."""
        sent = self._waiting.pop(sequence, None)
        if sent is None:
            self.duplicates += 1
            return None
        self.answered += 1
        return now - sent

    @property
    def waiting(self) -> int:
        """The number of records without an answer; once nothing is in flight, these are lost."""
        return len(self._waiting)
