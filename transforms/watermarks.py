"""The watermarks of the two kinds of source."""

from __future__ import annotations

from apache_beam.io.iobase import WatermarkEstimator
from apache_beam.transforms.core import WatermarkEstimatorProvider
from apache_beam.utils.timestamp import Duration, Timestamp

_AHEAD = Duration(seconds=365 * 24 * 3600)


class WallClockWatermark(WatermarkEstimator):
    """The watermark of records: the wall clock, moving whether records come or not, and never back.

    It is processing time, as KafkaIO's default is: what a producer wrote as a record's time, however far in the
    future, holds nothing up. With `ahead` it is a year later: the watermark of sources that only tell what there
    is to read, or which models are current. The records never wait for those.
    """

    def __init__(self, floor: Timestamp, ahead: bool) -> None:
        self._floor = floor
        self._ahead = ahead

    def observe_timestamp(self, timestamp: Timestamp) -> None:
        """Called with each element's timestamp, which is the wall clock's too."""

    def current_watermark(self) -> Timestamp:
        now = Timestamp.now() + _AHEAD if self._ahead else Timestamp.now()
        self._floor = max(self._floor, now)
        return self._floor

    def get_estimator_state(self) -> Timestamp:
        return self._floor

    def element_timestamp(self) -> Timestamp:
        """The timestamp of an element that is emitted now: well ahead of the watermark.

        While a bundle holds an element behind its input's watermark, Prism asks without a pause, and with a whole
        core, whether a stage with a side input may go on.
        """
        return self.current_watermark() + _AHEAD


class WallClockWatermarkProvider(WatermarkEstimatorProvider):
    """Makes the `WallClockWatermark` of a source."""

    def __init__(self, ahead: bool = False) -> None:
        self._ahead = ahead

    def initial_estimator_state(self, element: object, restriction: object) -> Timestamp:
        return Timestamp.now() + _AHEAD if self._ahead else Timestamp.now()

    def create_watermark_estimator(self, estimator_state: Timestamp) -> WallClockWatermark:
        return WallClockWatermark(estimator_state, self._ahead)
