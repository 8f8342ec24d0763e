"""The update stream, and the side input made of it.

What goes into the side input is a position of the models topic: a reference of a few bytes to everything that was
published below it. Positions of one topic only grow, and the newest says all, so that it does not matter whether a
runner gives every change or a snapshot, in what order, or twice: a position is both. A topic that was recreated has
positions of its own (`models.model_topic.position`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms import trigger, window

from models.errors import DescriptorError
from models.kafka.partition_reader import ReadSettings
from models.kafka.start_at import StartAt
from models.model_topic.catalog import ModelCatalog
from models.model_topic.position import encode_position, newest_positions
from models.records.batch import RecordBatch
from models.records.outgoing import OutgoingBatch
from models.results.dead_letter import dead_letters
from models.runner_facts import Firing
from transforms.kafka_source import Pace, ReadFromKafka

REJECTED = "rejected"

# Looked at every 50 ms; after news a pause of 100 ms: at most ten elements a second reach the side input.
UPDATE_PACE = Pace(idle_seconds=0.05, live_seconds=0.05, batches=1, heartbeat_seconds=0.0, news_seconds=0.1)

# How late a bundle may be in seeing a position.
LOOK_SECONDS = 0.05


class ModelUpdates(NamedTuple):
    """The two streams of the update topic.

    Attributes:
      positions: PCollection[bytes], encoded positions of the models topic.
      rejected: PCollection[OutgoingBatch], dead letters of malformed messages; also empty ones, so that the
        topic's offsets are committed.
    """

    positions: beam.PCollection[bytes]
    rejected: beam.PCollection[OutgoingBatch]

    def as_view(self, firing: Firing) -> beam.pvalue.AsIter:
        """The side input of positions, the newest of which counts.

        Args:
          firing: default: the default trigger, with which Prism hands over all positions so far; each: every position
            is a firing of its own and replaces the one before, as Flink and Dataflow want it.
        """
        if firing == "default":
            return beam.pvalue.AsIter(self.positions)
        # Such a runner holds the records back until the side input has fired once: no position says nothing, at once.
        # Not Create, whose steps are named after lines of Beam's source: a running job is updated by names.
        start = self.positions.pipeline | "NoPosition/Start" >> beam.Impulse()
        nothing = start | "NoPosition" >> beam.Map(_no_position).with_output_types(int)
        fired = (
            (nothing, self.positions)
            | "Positions" >> beam.Flatten()
            | "FireEach"
            >> beam.WindowInto(
                window.GlobalWindows(),
                trigger=trigger.Repeatedly(trigger.AfterCount(1)),
                accumulation_mode=trigger.AccumulationMode.DISCARDING,
            )
        )
        return beam.pvalue.AsIter(fired)


def _no_position(_: bytes) -> int:
    return 0  # not a position, and skipped; a number as in earlier releases, so that a running job can be updated


class ReadModelUpdates(beam.PTransform):
    """Reads the models topic from its beginning; model bytes stay in the topic.

    Args:
      topic: the models topic.
      settings: of the pipeline's reading; start and amounts are replaced by what this topic needs.
      dead_letter_topic: for malformed messages. What the group has committed was reported before.
      run_id: names this pipeline.
    """

    def __init__(self, topic: str, settings: ReadSettings, dead_letter_topic: str, run_id: str) -> None:
        super().__init__()
        self._topic = topic
        self._settings = ReadSettings(
            settings.kafka, settings.group, StartAt("earliest"), settings.on_gap, max_records=1_000
        )
        self._dead_letter_topic = dead_letter_topic
        self._run_id = run_id

    def expand(self, pbegin: beam.pvalue.PBegin) -> ModelUpdates:
        batches = pbegin | "Read" >> ReadFromKafka(self._topic, self._settings, UPDATE_PACE, self._run_id, ahead=True)
        checked = batches | "Check" >> beam.ParDo(CheckDescriptors(self._dead_letter_topic)).with_outputs(
            REJECTED, main="positions"
        ).with_output_types(bytes, rejected=OutgoingBatch)
        return ModelUpdates(checked.positions, checked[REJECTED])


class NewestPositions:
    """The newest positions in the side input, which grows with every update and is decoded whole for every look at it.

    At most ten positions a second go in, so that twenty looks a second are enough: bundles in between go by what is
    known. One belongs to one DoFn instance; not thread-safe.

    Args:
      seconds: between two looks.
      clock: seconds; never goes back.
    """

    def __init__(self, seconds: float = LOOK_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._look_again = 0.0
        self._known: dict[str, int] = {}

    def of(self, positions: Iterable[bytes]) -> dict[str, int]:
        """The newest offset of each topic id, at most so many seconds late; empty before the first."""
        now = self._clock()
        if now >= self._look_again:
            self._known = newest_positions(positions)
            self._look_again = now + self._seconds
        return self._known


class CheckDescriptors(beam.DoFn):
    """Messages of the models topic to its position; malformed ones, once, to dead letters."""

    def __init__(self, dead_letter_topic: str) -> None:
        self._dead_letter_topic = dead_letter_topic
        self._accepted = Metrics.counter("CheckDescriptors", "accepted")
        self._rejected = Metrics.counter("CheckDescriptors", "rejected")

    def process(self, element: RecordBatch) -> Iterator[Any]:
        reasons = self._reasons(element)
        self._accepted.inc(len(element) - len(reasons))
        self._rejected.inc(len(reasons))
        news = {place: reason for place, reason in reasons.items() if element.offsets[place] >= element.committed}
        runs = [dead_letters(self._dead_letter_topic, element, news)] if news else []
        yield beam.pvalue.TaggedOutput(REJECTED, OutgoingBatch(element.span, runs))
        yield encode_position(element.span.topic_id, element.span.end)

    @staticmethod
    def _reasons(batch: RecordBatch) -> dict[int, str]:
        """Why some messages are malformed, by place."""
        reasons = {}
        columns = zip(batch.offsets.tolist(), batch.keys.to_pylist(), batch.values.to_pylist(), strict=True)
        for place, (offset, key, value) in enumerate(columns):
            try:
                ModelCatalog().apply(offset, key, value)
            except DescriptorError as error:
                reasons[place] = str(error)
        return reasons
