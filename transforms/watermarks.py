"""The watermarks of the sources: one for records, and one for sources for which records never wait."""

from __future__ import annotations

from apache_beam.io.iobase import WatermarkEstimator
from apache_beam.transforms.core import WatermarkEstimatorProvider
from apache_beam.utils.timestamp import Duration, Timestamp

_AHEAD = Duration(seconds=365 * 24 * 3600)


class WallClockWatermark(WatermarkEstimator):
    """A watermark that follows the wall clock, whether or not records arrive, and never moves back.

    It is processing time, which is also KafkaIO's default, so a record with a timestamp far in the future does not hold
    anything up. With `ahead` it is one year later, for sources that list the partitions to read or the current models,
    because records never wait for these.

    Args:
      floor: the lowest value of the watermark, which is the one that the last checkpoint saved.
      ahead: whether the watermark is one year ahead of the wall clock.
    """

    def __init__(self, floor: Timestamp, ahead: bool) -> None:
        self._floor = floor
        self._ahead = ahead

    def observe_timestamp(self, timestamp: Timestamp) -> None:
        """Ignores the timestamps of elements, because they follow the wall clock as well."""

    def current_watermark(self) -> Timestamp:
        """The current time, or one year later with `ahead`; never earlier than in a previous call."""
        now = Timestamp.now() + _AHEAD if self._ahead else Timestamp.now()
        self._floor = max(self._floor, now)
        return self._floor

    def get_estimator_state(self) -> Timestamp:
        """The last watermark, which a checkpoint saves and a restored estimator starts at."""
        return self._floor

    def element_timestamp(self) -> Timestamp:
        """The timestamp for an element that is emitted now: one year ahead of the watermark.

        This works around Prism: while a bundle contains an element that is behind the watermark of its input, Prism
        polls in a busy loop, which takes a whole core, whether a stage with a side input may run.
        """
        return self.current_watermark() + _AHEAD


class WallClockWatermarkProvider(WatermarkEstimatorProvider):
    """Creates the `WallClockWatermark` of a source.

    Args:
      ahead: whether the watermark is one year ahead of the wall clock.
    """

    def __init__(self, ahead: bool = False) -> None:
        self._ahead = ahead

    def initial_estimator_state(self, element: object, restriction: object) -> Timestamp:
        """The watermark of new work, for every element and restriction."""
        return Timestamp.now() + _AHEAD if self._ahead else Timestamp.now()

    def create_watermark_estimator(self, estimator_state: Timestamp) -> WallClockWatermark:
        """An estimator that continues from the saved watermark."""
        return WallClockWatermark(estimator_state, self._ahead)
