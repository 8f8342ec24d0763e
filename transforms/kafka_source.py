"""Reads a Kafka topic natively: one restriction a partition, one element a list of records.

`ReadFromKafka` finds the partitions of a topic, also those added later, and reads each of them. A bundle takes what
is there, ends, and is resumed after a pause: nothing waits inside a bundle.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import apache_beam as beam
from apache_beam.io.iobase import RestrictionTracker, WatermarkEstimator
from apache_beam.metrics import Metrics
from apache_beam.transforms.core import RestrictionProvider, WatermarkEstimatorProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from models.errors import KafkaUnreachableError
from models.kafka.client import ConnectionLog, KafkaSettings, partition_count
from models.kafka.partition_reader import Partition, PartitionReader, ReadSettings, TopicRecreatedError, topic_identity
from models.records.batch import RecordBatch
from transforms.checkpointing import END, Reading, ReadingCoder, ReadingTracker
from transforms.partition_readers import PartitionReaders
from transforms.process_shared import ProcessShared
from transforms.watermarks import WallClockWatermark, WallClockWatermarkProvider

_LOGGER = logging.getLogger(__name__)

_DISCOVERY_SECONDS = 5.0
_RETRY_SECONDS = 1.0
_LIVE_SECONDS = 1.0


@dataclass(frozen=True)
class Pace:
    """How a partition is read, bundle by bundle.

    Attributes:
      idle_seconds: the pause after a bundle that found nothing, when nothing has come for a second.
      live_seconds: the pause after a bundle that found all there was, and for a second after the last record.
      busy_seconds: the pause after a bundle that left at least a whole list behind.
      batches: lists of records a bundle at most.
      news_seconds: the pause after a bundle that found anything at all, if longer than the others.
      heartbeat_seconds: an empty list after this long without a record, so that models load and events flow
        while nothing comes; 0: none.
    """

    idle_seconds: float = 0.03
    live_seconds: float = 0.01
    busy_seconds: float = 0.0
    batches: int = 4
    news_seconds: float = 0.0
    heartbeat_seconds: float = 1.0

    def pause(self, took: bool, more: bool, quiet_seconds: float = 0.0) -> Duration:
        """The pause after a bundle that took something, or not, and left a whole list of offsets behind, or not.

        When it took nothing, those may hold no record: the end of a transaction takes an offset, too.

        Args:
          took: whether it took records.
          more: whether it left enough for another list.
          quiet_seconds: since the last record.
        """
        if took:
            return Duration(seconds=max(self.busy_seconds if more else self.live_seconds, self.news_seconds))
        return Duration(seconds=self.live_seconds if quiet_seconds < _LIVE_SECONDS else self.idle_seconds)


class ReadFromKafka(beam.PTransform):
    """Reads topics: a PCollection of `RecordBatch` in the global window.

    Elements are in the global window, their timestamps well ahead of the watermark; the records' own timestamps are in
    the batch. Batches of one partition are emitted in the order of their offsets, and their spans tile it. What was
    emitted and not acknowledged when a runner without checkpoints stops is emitted again by the next start.

    Args:
      topics: read until the pipeline is stopped; each may appear later.
      settings: where to start, how much to take, what to do about a gap.
      pace: the pauses.
      ahead: the watermark is a year ahead of the wall clock: for sources that side inputs are made of.
    """

    def __init__(self, topics: Sequence[str], settings: ReadSettings, pace: Pace, ahead: bool = False) -> None:
        super().__init__()
        self._topics = tuple(topics)
        self._settings = settings
        self._pace = pace
        self._ahead = ahead

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection[RecordBatch]:
        shared: ProcessShared[PartitionReaders] = ProcessShared()
        find = beam.ParDo(FindPartitions(self._settings.kafka, shared, self._ahead))
        read = beam.ParDo(ReadPartition(self._settings, self._pace, shared, self._ahead))
        return (
            pbegin
            | "Start" >> beam.Impulse()
            # Not Create, which encodes its elements at once: a template's topic is known only in the worker.
            | "Topic" >> beam.FlatMap(_named, self._topics).with_output_types(str)
            | "FindPartitions" >> find.with_output_types(Partition)
            | "ReadPartitions" >> read.with_output_types(RecordBatch)
        )


def _named(_: bytes, topics: Sequence[str]) -> Sequence[str]:
    return topics


class CheckpointedSource(beam.DoFn, RestrictionProvider, WatermarkEstimatorProvider):
    """What both steps have: restrictions that are only ever checkpointed, and a watermark that follows the clock."""

    def __init__(self, shared: ProcessShared[PartitionReaders], ahead: bool) -> None:
        self._shared = shared
        self._watermarks = WallClockWatermarkProvider(ahead)

    def setup(self) -> None:
        self._shared.enter(PartitionReaders)

    def teardown(self) -> None:
        self._shared.leave()

    @property
    def _readers(self) -> PartitionReaders:
        return self._shared.value(PartitionReaders)

    def create_tracker(self, restriction: Reading) -> ReadingTracker:
        return ReadingTracker(restriction)

    def restriction_coder(self) -> ReadingCoder:
        return ReadingCoder()

    def initial_estimator_state(self, element: object, restriction: object) -> Timestamp:
        return self._watermarks.initial_estimator_state(element, restriction)

    def create_watermark_estimator(self, estimator_state: Timestamp) -> WallClockWatermark:
        return self._watermarks.create_watermark_estimator(estimator_state)


class FindPartitions(CheckpointedSource):
    """A topic to its partitions: at first all there are, later each that is added, and all of a recreated topic.

    Its watermark is of the same kind as that of the reading: a later one would run ahead of partitions that are
    found later, and Prism runs a stage with a side input only while its input's watermark moves.
    """

    def __init__(self, kafka: KafkaSettings, shared: ProcessShared[PartitionReaders], ahead: bool) -> None:
        super().__init__(shared, ahead)
        self._kafka = kafka

    def setup(self) -> None:
        super().setup()
        self._admin = self._kafka.admin()
        self._missing_said = False

    def initial_restriction(self, element: str) -> Reading:
        return Reading(0, 0)

    def restriction_size(self, element: str, restriction: Reading) -> int:
        return 1

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: str,
        tracker: RestrictionTracker = beam.DoFn.RestrictionParam(),
        watermark: WatermarkEstimator = beam.DoFn.WatermarkEstimatorParam(),
    ) -> Iterator[TimestampedValue]:
        reading = tracker.current_restriction()
        known = reading.position
        found = self._count(element)
        topic_id = topic_identity(self._admin, element) if found else ""
        if self._readers.recreated(element, topic_id):
            known = 0
        if found > known and tracker.try_claim(found):
            first = reading.position == 0
            for partition in range(known, found):
                yield Partition(element, topic_id, partition, from_beginning=not first)
        tracker.defer_remainder(Duration(seconds=_DISCOVERY_SECONDS if found else _RETRY_SECONDS))

    def _count(self, topic: str) -> int:
        try:
            found = partition_count(self._admin, topic, timeout=5.0)
        except KafkaUnreachableError:
            return 0
        ConnectionLog.answered(self._kafka.bootstrap_servers)
        if not found and not self._missing_said:
            _LOGGER.warning("topic %r does not exist, or this user may not describe it; waiting for it", topic)
        self._missing_said = not found
        return found


class ReadPartition(CheckpointedSource):
    """A partition to lists of its records."""

    def __init__(
        self, settings: ReadSettings, pace: Pace, shared: ProcessShared[PartitionReaders], ahead: bool
    ) -> None:
        super().__init__(shared, ahead)
        self._settings = settings
        self._pace = pace
        self._read = Metrics.counter("ReadPartition", "records")
        self._gaps = Metrics.counter("ReadPartition", "gaps")
        self._backlog = Metrics.gauge("ReadPartition", "backlog")

    def initial_restriction(self, element: Partition) -> Reading:
        """Where reading begins; waits while no broker answers."""
        while True:
            try:
                with self._readers.lease(self._settings, element) as reader:
                    offset = reader.opening().offset
                return Reading(offset, offset)
            except KafkaUnreachableError as error:
                _LOGGER.warning("%s; trying again", error)
                time.sleep(_RETRY_SECONDS)

    def restriction_size(self, element: Partition, restriction: Reading) -> int:
        return 1 if restriction.done else 1 + self._readers.backlog(element, restriction.position)

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: Partition,
        tracker: RestrictionTracker = beam.DoFn.RestrictionParam(),
        watermark: WatermarkEstimator = beam.DoFn.WatermarkEstimatorParam(),
    ) -> Iterator[TimestampedValue]:
        reading = tracker.current_restriction()
        position = reading.position
        with self._readers.lease(self._settings, element) as reader:
            for _ in range(self._pace.batches):
                try:
                    if self._readers.recreated_since(element):
                        reader.recreated(position)
                    batch = reader.take(position, reading.origin)
                except TopicRecreatedError as error:  # FindPartitions emits the new partitions; this one is done
                    gap = replace(reader.nothing(position, reading.origin), gap=str(error))
                    yield TimestampedValue(gap, watermark.element_timestamp())
                    tracker.try_claim(END)
                    return
                if not len(batch) and batch.gap is None:
                    break
                if not tracker.try_claim(batch.span.end):
                    return
                self._read.inc(len(batch))
                position = batch.span.end
                reader.took_at = reader.quiet_since = time.monotonic()
                yield TimestampedValue(batch, watermark.element_timestamp())
                if len(batch) < self._settings.max_records and not self._more(reader, position):
                    # All there was. What has arrived meanwhile is a record or two, and a list of them costs the stages
                    # behind as much as a longer one.
                    break
            backlog, more = reader.backlog(position), self._more(reader, position)
            quiet_seconds = time.monotonic() - reader.took_at
            if self._heartbeat_due(reader):
                yield TimestampedValue(reader.nothing(position, reading.origin), watermark.element_timestamp())
        self._backlog.set(backlog)
        tracker.defer_remainder(self._pace.pause(position > reading.position, more, quiet_seconds))

    def _more(self, reader: PartitionReader, position: int) -> bool:
        """Whether the broker has another whole list."""
        return reader.backlog(position) >= self._settings.max_records

    def _heartbeat_due(self, reader: PartitionReader) -> bool:
        now = time.monotonic()
        due = 0 < self._pace.heartbeat_seconds <= now - reader.quiet_since
        if due:
            reader.quiet_since = now
        return due
