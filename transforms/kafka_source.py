"""Reads Kafka topics natively: one restriction per partition, one element per list of records.

`ReadFromKafka` finds the partitions of each topic, including those added later, and reads them. A bundle takes the
records that have been fetched, ends, and is resumed after a pause: nothing waits inside a bundle.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import apache_beam as beam
from apache_beam.io.iobase import RestrictionTracker, WatermarkEstimator
from apache_beam.transforms.core import RestrictionProvider, WatermarkEstimatorProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from models.errors import KafkaUnreachableError
from models.kafka.client import ConnectionLog, KafkaSettings, partition_count
from models.kafka.partition_reader import Partition, PartitionReader, ReadSettings, TopicRecreatedError
from models.kafka.topic_identities import TopicIdentities
from models.observing.instruments import CONSUMER_LAG
from models.records.batch import RecordBatch
from transforms.checkpointing import END, Reading, ReadingCoder, ReadingTracker
from transforms.observing import Observing
from transforms.partition_readers import PartitionReaders
from transforms.process_shared import ProcessShared
from transforms.watermarks import WallClockWatermark, WallClockWatermarkProvider

_LOGGER = logging.getLogger(__name__)

_DISCOVERY_SECONDS = 5.0
_RETRY_SECONDS = 1.0
_LIVE_SECONDS = 1.0


@dataclass(frozen=True)
class Pace:
    """How often a partition is read, and how much of it in one bundle.

    Attributes:
      idle_seconds: the pause after a bundle that found nothing, if the last record is more than a second old.
      live_seconds: the pause after a bundle that took everything, and after an empty one within a second of a record.
      busy_seconds: the pause after a bundle that left at least one full list behind.
      batches: the maximum number of lists of records in a bundle.
      news_seconds: the pause after a bundle that took any records, if it is longer than the others.
      heartbeat_seconds: how long a partition must be quiet before an empty list is emitted, so that models load and
        events flow without records; 0 means never.
    """

    idle_seconds: float = 0.03
    live_seconds: float = 0.01
    busy_seconds: float = 0.0
    batches: int = 4
    news_seconds: float = 0.0
    heartbeat_seconds: float = 1.0

    def pause(self, took: bool, more: bool, quiet_seconds: float = 0.0) -> Duration:
        """The pause after a bundle.

        If a bundle found no records, the offsets that it left behind may contain none either: the end of a transaction
        also takes an offset.

        Args:
          took: whether the bundle took records.
          more: whether it left enough records behind for another list.
          quiet_seconds: the time since the last record.
        """
        if took:
            return Duration(seconds=max(self.busy_seconds if more else self.live_seconds, self.news_seconds))
        return Duration(seconds=self.live_seconds if quiet_seconds < _LIVE_SECONDS else self.idle_seconds)


class ReadFromKafka(beam.PTransform):
    """Reads topics until the pipeline is stopped, and returns a PCollection of `RecordBatch`.

    Elements are in the global window, with timestamps well ahead of the watermark; the records' own timestamps are in
    the batch. Batches of one partition are emitted in the order of their offsets, and their spans tile it. On a runner
    without checkpoints, the next start emits unacknowledged batches again.

    Args:
      topics: the topics; each may be created later.
      settings: where to start, how much to take, and what to do about a gap.
      pace: the pauses between bundles.
      ahead: whether the watermark is a year ahead of the wall clock, as the source of a side input needs.
      observing: who is told what is measured; None for nobody.
    """

    def __init__(
        self,
        topics: Sequence[str],
        settings: ReadSettings,
        pace: Pace,
        ahead: bool = False,
        observing: Observing | None = None,
    ) -> None:
        super().__init__()
        self._observing = observing or Observing()
        self._topics = tuple(topics)
        self._settings = settings
        self._pace = pace
        self._ahead = ahead

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection[RecordBatch]:
        """Builds the steps that find the partitions and read them."""
        shared: ProcessShared[PartitionReaders] = ProcessShared()
        find = beam.ParDo(FindPartitions(self._settings.kafka, shared, self._ahead))
        read = beam.ParDo(ReadPartition(self._settings, self._pace, shared, self._ahead, self._observing))
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
    """The base of both steps: restrictions are only ever checkpointed, and the watermark follows the clock."""

    def __init__(self, shared: ProcessShared[PartitionReaders], ahead: bool) -> None:
        self._shared = shared
        self._watermarks = WallClockWatermarkProvider(ahead)

    def setup(self) -> None:
        """Enters the readers, which the steps of a worker process share."""
        self._shared.enter(PartitionReaders)

    def teardown(self) -> None:
        """Leaves the shared readers; the last step to leave closes them."""
        self._shared.leave()

    @property
    def _readers(self) -> PartitionReaders:
        return self._shared.value(PartitionReaders)

    def create_tracker(self, restriction: Reading) -> ReadingTracker:
        """A tracker that can be checkpointed and never split."""
        return ReadingTracker(restriction)

    def restriction_coder(self) -> ReadingCoder:
        """The coder of restrictions in checkpoints."""
        return ReadingCoder()

    def initial_estimator_state(self, element: object, restriction: object) -> Timestamp:
        """The watermark at which an element starts."""
        return self._watermarks.initial_estimator_state(element, restriction)

    def create_watermark_estimator(self, estimator_state: Timestamp) -> WallClockWatermark:
        """A watermark that follows the wall clock."""
        return self._watermarks.create_watermark_estimator(estimator_state)


class FindPartitions(CheckpointedSource):
    """Emits the partitions of a topic: first all of them, later each one that is added, and all of a recreated topic.

    Its watermark is of the same kind as that of `ReadPartition`: a later one would run ahead of partitions that are
    found later, and Prism runs a stage with a side input only while its input's watermark moves.
    """

    def __init__(self, kafka: KafkaSettings, shared: ProcessShared[PartitionReaders], ahead: bool) -> None:
        super().__init__(shared, ahead)
        self._kafka = kafka

    def setup(self) -> None:
        """Creates the client that counts partitions."""
        super().setup()
        self._admin = self._kafka.admin()
        self._identities = TopicIdentities(self._admin)
        self._missing_said = False

    def initial_restriction(self, element: str) -> Reading:
        """A topic of which no partition has been found yet."""
        return Reading(0, 0)

    def restriction_size(self, element: str, restriction: Reading) -> int:
        """Always 1: the number of partitions to come is unknown."""
        return 1

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: str,
        tracker: RestrictionTracker = beam.DoFn.RestrictionParam(),
        watermark: WatermarkEstimator = beam.DoFn.WatermarkEstimatorParam(),
    ) -> Iterator[TimestampedValue]:
        """Emits the partitions that are new since the last call, then asks to be resumed."""
        reading = tracker.current_restriction()
        known = reading.position
        found = self._count(element)
        topic_id = self._identities.of(element) if found else ""
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
    """Emits the records of a partition as batches."""

    def __init__(
        self,
        settings: ReadSettings,
        pace: Pace,
        shared: ProcessShared[PartitionReaders],
        ahead: bool,
        observing: Observing,
    ) -> None:
        super().__init__(shared, ahead)
        self._settings = settings
        self._pace = pace
        self._observing = observing

    def setup(self) -> None:
        """Enters the readers, and the process's observation."""
        super().setup()
        self._observed = self._observing.enter()

    def teardown(self) -> None:
        """Leaves the readers, and the process's observation."""
        super().teardown()
        self._observing.leave()

    def initial_restriction(self, element: Partition) -> Reading:
        """The offset at which reading begins; waits until a broker answers."""
        while True:
            try:
                with self._readers.lease(self._settings, element) as reader:
                    offset = reader.opening().offset
                return Reading(offset, offset)
            except KafkaUnreachableError as error:
                _LOGGER.warning("%s; trying again", error)
                time.sleep(_RETRY_SECONDS)

    def restriction_size(self, element: Partition, restriction: Reading) -> int:
        """The number of offsets behind the position, plus 1 because the partition may grow."""
        return 1 if restriction.done else 1 + self._readers.backlog(element, restriction.position)

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: Partition,
        tracker: RestrictionTracker = beam.DoFn.RestrictionParam(),
        watermark: WatermarkEstimator = beam.DoFn.WatermarkEstimatorParam(),
    ) -> Iterator[TimestampedValue]:
        """Emits the batches that have been fetched, or a heartbeat, then asks to be resumed after a pause."""
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
                position = batch.span.end
                reader.took_at = reader.quiet_since = time.monotonic()
                yield TimestampedValue(replace(batch, taken=time.time_ns()), watermark.element_timestamp())
                if len(batch) < self._settings.max_records and not self._more(reader, position):
                    # Everything available was taken. By now a record or two may have arrived, but a list of them costs
                    # the following stages as much as a longer one.
                    break
            backlog, more = reader.backlog(position), self._more(reader, position)
            quiet_seconds = time.monotonic() - reader.took_at
            if self._heartbeat_due(reader):
                yield TimestampedValue(reader.nothing(position, reading.origin), watermark.element_timestamp())
        self._observed.observation.measure(CONSUMER_LAG, backlog, (element.topic, str(element.partition)))
        self._observed.reading.publish()
        tracker.defer_remainder(self._pace.pause(position > reading.position, more, quiet_seconds))

    def _more(self, reader: PartitionReader, position: int) -> bool:
        """Whether the broker has another full list."""
        return reader.backlog(position) >= self._settings.max_records

    def _heartbeat_due(self, reader: PartitionReader) -> bool:
        now = time.monotonic()
        due = 0 < self._pace.heartbeat_seconds <= now - reader.quiet_since
        if due:
            reader.quiet_since = now
        return due
