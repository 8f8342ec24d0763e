"""The stream of model updates, and the side input built from it.

The side input contains positions of the models topic: references of a few bytes to everything published below them.
Positions of one topic only grow, and the newest one is sufficient. It therefore does not matter whether a runner
delivers every change or a snapshot, or in which order and how often it does so. A recreated topic has positions of its
own (`models.model_topic.position`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.transforms import trigger, window

from models.errors import DescriptorError
from models.kafka.partition_reader import ReadSettings
from models.kafka.start_at import StartAt
from models.model_topic.catalog import ModelCatalog
from models.model_topic.position import encode_position, newest_positions
from models.observing.instruments import DESCRIPTORS
from models.observing.observer import Observer
from models.records.batch import RecordBatch
from models.records.outgoing import OutgoingBatch
from models.results.dead_letter import dead_letters
from models.runner_facts import Firing
from transforms.kafka_source import Pace, ReadFromKafka
from transforms.observing import Observing

REJECTED = "rejected"

# Poll every 50 ms, but pause for 100 ms after an update, so that at most ten elements per second reach the side input,
# because each of its changes costs the runner time.
UPDATE_PACE = Pace(idle_seconds=0.05, live_seconds=0.05, batches=1, heartbeat_seconds=0.0, news_seconds=0.1)

# How long a bundle may take to notice a new position.
LOOK_SECONDS = 0.05


class ModelUpdates(NamedTuple):
    """The two streams that come from the models topic.

    Attributes:
      positions: PCollection[bytes], encoded positions of the models topic.
      rejected: PCollection[OutgoingBatch], dead letters for malformed messages; batches without malformed messages
        are included, empty, so that their offsets are committed.
    """

    positions: beam.PCollection[bytes]
    rejected: beam.PCollection[OutgoingBatch]

    def as_view(self, firing: Firing) -> beam.pvalue.AsIter:
        """The side input of positions; readers use the newest one.

        Args:
          firing: "default" for the default trigger, with which Prism delivers all positions so far; "each" to fire
            for every position and replace the previous one, which Flink and Dataflow need.
        """
        if firing == "default":
            return beam.pvalue.AsIter(self.positions)
        # These runners hold the records back until the side input has fired once, so a placeholder fires it at once.
        # Impulse is used because Create contains steps named after line numbers of Beam's source, and the update of a
        # running job matches steps by name.
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
    # Readers skip it. It is a number, as in earlier releases, so that the coder stays compatible with running jobs.
    return 0


class ReadModelUpdates(beam.PTransform):
    """Reads the models topic from its beginning; the bytes of models stay in the topic.

    Args:
      topic: the models topic.
      settings: how the pipeline reads its topics; start and batch sizes are replaced by what this topic needs.
      dead_letter_topic: receives malformed messages, except those below the group's committed offset, which were
        reported before.
      observing: who is told what is measured; None for nobody.
    """

    def __init__(
        self, topic: str, settings: ReadSettings, dead_letter_topic: str, observing: Observing | None = None
    ) -> None:
        super().__init__()
        self._observing = observing or Observing()
        self._topic = topic
        self._settings = ReadSettings(
            settings.kafka, settings.group, StartAt("earliest"), settings.on_gap, max_records=1_000
        )
        self._dead_letter_topic = dead_letter_topic

    def expand(self, pbegin: beam.pvalue.PBegin) -> ModelUpdates:
        """Builds the two streams."""
        source = ReadFromKafka([self._topic], self._settings, UPDATE_PACE, ahead=True, observing=self._observing)
        check = beam.ParDo(CheckDescriptors(self._dead_letter_topic, self._observing))
        checked = (
            pbegin
            | "Read" >> source
            | "Check" >> check.with_outputs(REJECTED, main="positions").with_output_types(bytes, rejected=OutgoingBatch)
        )
        return ModelUpdates(checked.positions, checked[REJECTED])


class NewestPositions:
    """Caches the newest positions in the side input. Not thread-safe; each DoFn instance has its own.

    The side input may grow with every update, and reading it decodes all of it. Since at most ten positions per second
    are added, it is read at most twenty times per second; bundles in between use the cached positions.

    Args:
      seconds: the time between two reads of the side input.
      clock: returns a number of seconds that never decreases.
    """

    def __init__(self, seconds: float = LOOK_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._look_again = 0.0
        self._known: dict[str, int] = {}

    def of(self, positions: Iterable[bytes]) -> dict[str, int]:
        """The newest offset of each topic id, at most `seconds` old; empty before the first position."""
        now = self._clock()
        if now >= self._look_again:
            self._known = newest_positions(positions)
            self._look_again = now + self._seconds
        return self._known


class CheckDescriptors(beam.DoFn):
    """Turns batches of the models topic into positions, and malformed messages into dead letters.

    Args:
      dead_letter_topic: the topic of the dead letters.
      observing: who is told what is measured; None for nobody.
    """

    def __init__(self, dead_letter_topic: str, observing: Observing | None = None) -> None:
        self._dead_letter_topic = dead_letter_topic
        self._observing = observing or Observing()

    def setup(self) -> None:
        """Enters the process's observation."""
        self._observer: Observer = self._observing.enter().observation

    def teardown(self) -> None:
        """Leaves the process's observation."""
        self._observing.leave()

    def process(self, element: RecordBatch) -> Iterator[Any]:
        """Emits the position after the batch, and one rejected batch, which is empty if no message is malformed."""
        reasons = self._reasons(element)
        self._observer.measure(DESCRIPTORS, len(element) - len(reasons), ("accepted",))
        self._observer.measure(DESCRIPTORS, len(reasons), ("rejected",))
        news = {place: reason for place, reason in reasons.items() if element.offsets[place] >= element.committed}
        runs = [dead_letters(self._dead_letter_topic, element, news)] if news else []
        yield beam.pvalue.TaggedOutput(REJECTED, OutgoingBatch(element.span, runs))
        yield encode_position(element.span.topic_id, element.span.end)

    @staticmethod
    def _reasons(batch: RecordBatch) -> dict[int, str]:
        """The reasons why messages of the batch are malformed, by their index."""
        reasons = {}
        columns = zip(batch.offsets.tolist(), batch.keys.to_pylist(), batch.values.to_pylist(), strict=True)
        for place, (offset, key, value) in enumerate(columns):
            try:
                ModelCatalog().apply(offset, key, value)
            except DescriptorError as error:
                reasons[place] = str(error)
        return reasons
