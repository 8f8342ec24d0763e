"""A restriction that is only ever checkpointed, never split in two.

A partition must not be read twice at once, nor a topic be watched twice. (Java's KafkaIO made its restrictions
unsplittable for the same reason.)
"""

from __future__ import annotations

from dataclasses import dataclass

from apache_beam import coders
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker

# Claiming this position says that nothing more will come.
END = (1 << 63) - 1


@dataclass(frozen=True)
class Reading:
    """How far an endless piece of work has come.

    Attributes:
      origin: where it began.
      position: what comes next.
      done: nothing more will come.
    """

    origin: int
    position: int
    done: bool = False


class ReadingCoder(coders.Coder):
    """`Reading` as three varints."""

    _tuple = coders.TupleCoder([coders.VarIntCoder()] * 3)

    def encode(self, value: Reading) -> bytes:
        encoded: bytes = self._tuple.encode((value.origin, value.position, int(value.done)))
        return encoded

    def decode(self, encoded: bytes) -> Reading:
        origin, position, done = self._tuple.decode(encoded)
        return Reading(origin, position, bool(done))

    def is_deterministic(self) -> bool:
        return True


class ReadingTracker(RestrictionTracker):
    """Tracks a `Reading`; claims are positions, each the one after what was taken.

    The runner may stop it after any claim: `try_claim` then answers False, and what was taken for that claim must
    not be emitted.
    """

    def __init__(self, reading: Reading, backlog: int = 0) -> None:
        self._reading = reading
        self._backlog = backlog
        self._position = reading.position
        self._stopped = reading.done

    def current_restriction(self) -> Reading:
        return Reading(self._reading.origin, self._reading.position, self._stopped)

    def try_claim(self, position: int) -> bool:
        if self._stopped:
            return False
        self._stopped = position == END
        if not self._stopped:
            self._position = position
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[Reading, Reading] | None:
        if fraction_of_remainder != 0 or self._stopped:
            return None
        self._stopped = True
        origin = self._reading.origin
        return Reading(origin, self._reading.position, True), Reading(origin, self._position)

    def check_done(self) -> None:
        if not self._stopped:
            raise ValueError(f"reading stopped at {self._position} without a checkpoint")

    def current_progress(self) -> RestrictionProgress:
        done = self._position - self._reading.position
        return RestrictionProgress(completed=done, remaining=max(1, self._backlog - done))

    def is_bounded(self) -> bool:
        return False
