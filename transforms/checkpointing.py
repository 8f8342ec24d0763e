"""A restriction that can be checkpointed but never split into two parts that run at once.

Splitting a partition would have two consumers read it at the same time, and splitting a topic would have two watchers
report its partitions. (Java's KafkaIO made its restrictions unsplittable for the same reason.)
"""

from __future__ import annotations

from dataclasses import dataclass

from apache_beam import coders
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker

# Claiming this position ends the work: no more elements will follow.
END = (1 << 63) - 1


@dataclass(frozen=True)
class Reading:
    """The progress of an endless piece of work.

    Attributes:
      origin: the position at which the work started.
      position: the position to continue at.
      done: whether the work has ended, so no more elements will follow.
    """

    origin: int
    position: int
    done: bool = False


class ReadingCoder(coders.Coder):
    """`Reading` as three varints."""

    _tuple = coders.TupleCoder([coders.VarIntCoder()] * 3)

    def encode(self, value: Reading) -> bytes:
        """Encodes origin, position and done, in this order."""
        encoded: bytes = self._tuple.encode((value.origin, value.position, int(value.done)))
        return encoded

    def decode(self, encoded: bytes) -> Reading:
        """The restriction in `encoded`."""
        origin, position, done = self._tuple.decode(encoded)
        return Reading(origin, position, bool(done))

    def is_deterministic(self) -> bool:
        """True: equal restrictions have equal bytes."""
        return True


class ReadingTracker(RestrictionTracker):
    """Tracks a `Reading`. A claim is the position after the elements that are about to be emitted.

    The runner may take a checkpoint after any claim. The next `try_claim` then returns False, and the elements of
    that claim must not be emitted, because the checkpoint's remainder reads them again.

    Args:
      reading: the restriction as it was at the start of the bundle.
      backlog: the number of positions known to be available, which the runner uses for scaling.
    """

    def __init__(self, reading: Reading, backlog: int = 0) -> None:
        self._reading = reading
        self._backlog = backlog
        self._position = reading.position
        self._stopped = reading.done

    def current_restriction(self) -> Reading:
        """The restriction of this bundle; it is done after a checkpoint or after `END` was claimed."""
        return Reading(self._reading.origin, self._reading.position, self._stopped)

    def try_claim(self, position: int) -> bool:
        """Claims everything below `position`; returns False if the work was stopped and nothing may be emitted."""
        if self._stopped:
            return False
        self._stopped = position == END
        if not self._stopped:
            self._position = position
        return True

    def try_split(self, fraction_of_remainder: float) -> tuple[Reading, Reading] | None:
        """Takes a checkpoint when the fraction is 0; refuses every other split by returning None.

        The primary part ends at the last claim; the remainder continues there.
        """
        if fraction_of_remainder != 0 or self._stopped:
            return None
        self._stopped = True
        origin = self._reading.origin
        return Reading(origin, self._reading.position, True), Reading(origin, self._position)

    def check_done(self) -> None:
        """Raises ValueError if the bundle ended without a checkpoint, which would lose the remainder."""
        if not self._stopped:
            raise ValueError(f"the bundle ended at position {self._position} without a checkpoint")

    def current_progress(self) -> RestrictionProgress:
        """The positions claimed in this bundle, and an estimate of how many remain, which is at least 1."""
        # Endless work is never complete. A remainder of 0 would make it look finished to the runner.
        done = self._position - self._reading.position
        return RestrictionProgress(completed=done, remaining=max(1, self._backlog - done))

    def is_bounded(self) -> bool:
        """False: the work has no end, so the runner treats the output as a stream."""
        return False
