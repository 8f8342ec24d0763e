"""Who is still owed an answer: every record that was sent must come back once, as a result or as a dead letter."""

from __future__ import annotations


class Ledger:
    """Records that were sent and not answered yet, by sequence number. Not thread-safe.

    Attributes:
      sent, answered: how many.
      duplicates: answers to what was answered already; the pipeline promises "at least once".
    """

    def __init__(self) -> None:
        self.sent = 0
        self.answered = 0
        self.duplicates = 0
        self._waiting: dict[int, float] = {}

    def send(self, now: float) -> int:
        """Notes a record that is sent now; gives its sequence number."""
        sequence = self.sent
        self.sent += 1
        self._waiting[sequence] = now
        return sequence

    def answer(self, sequence: int, now: float) -> float | None:
        """Notes an answer; gives the seconds since the record was sent, None for a duplicate."""
        sent = self._waiting.pop(sequence, None)
        if sent is None:
            self.duplicates += 1
            return None
        self.answered += 1
        return now - sent

    @property
    def waiting(self) -> int:
        """How many are owed an answer: when nothing more is under way, these are lost."""
        return len(self._waiting)
