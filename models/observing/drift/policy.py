"""How long windows are, how many records they need, and how often a false alarm is acceptable."""

from __future__ import annotations

from dataclasses import dataclass

_SECONDS_A_DAY = 86_400
# Half of the promised 1 % a day for a version of a model, because the limit of the PSI is an approximation.
_FALSE_ALARMS_A_DAY = 0.005
_BASELINE_WINDOWS = 5
_BASELINE_TIMES = 10


@dataclass(frozen=True)
class DriftPolicy:
    """How drift is judged.

    Attributes:
      window_seconds: the length of a window; windows begin at multiples of it since 1970-01-01 UTC.
      min_records: the least number of records that are judged together; a window with fewer waits for the next one.
    """

    window_seconds: int = 60
    min_records: int = 500

    @property
    def milliseconds(self) -> int:
        """The length of a window in milliseconds."""
        return 1000 * self.window_seconds

    def start_of(self, milliseconds: int) -> int:
        """The start of the window that contains a time; both in milliseconds since 1970-01-01 UTC.

        >>> DriftPolicy(60).start_of(125_000)
        120000
        """
        return milliseconds - milliseconds % self.milliseconds

    @property
    def grace(self) -> int:
        """How many milliseconds after its end a window is judged, so that the sketches of all workers have arrived."""
        return max(2_000, self.milliseconds // 10)

    def suffices(self, records: int, windows: int) -> bool:
        """Whether the first windows of a version are enough for a baseline."""
        return windows >= _BASELINE_WINDOWS and records >= _BASELINE_TIMES * self.min_records

    def chance(self, figures: int) -> float:
        """The chance of a false alarm for one of the figures of each window, so that a day has at most few."""
        return _FALSE_ALARMS_A_DAY * self.window_seconds / _SECONDS_A_DAY / figures
