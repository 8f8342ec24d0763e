"""`python -m benchmarks.contenders.traced run ...`: `beam-serving run`, whose steps record when each batch passes them.

The traces go to the folder in the environment variable `BEAM_SERVING_TRACE` at the time when the pipeline is built; its
workers must have access to this folder and to this package.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.io.iobase import RestrictionTracker, WatermarkEstimator
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.windowed_value import WindowedValue

from models.kafka.partition_reader import Partition
from models.records.batch import OffsetSpan, RecordBatch
from models.records.outgoing import OutgoingBatch
from transforms import kafka_sink, kafka_source, scoring

FOLDER = "BEAM_SERVING_TRACE"


class Trace:
    """Records the times at which batches pass a step, in a file of JSON lines for each instance of the step's DoFn."""

    def __init__(self) -> None:
        self._folder = os.environ[FOLDER]
        self._lines: list[str] = []
        self._path: Path | None = None

    def note(self, span: OffsetSpan, times: dict[str, float]) -> None:
        """Records times of a batch, in seconds since 1970; a batch without records has no line."""
        if span.end > span.start:
            named = {"topic": span.topic, "start": span.start, "end": span.end, **times}
            self._lines.append(json.dumps(named))

    def write(self) -> None:
        """Appends the times recorded since the last call to the file."""
        if not self._lines:
            return
        if self._path is None:
            self._path = Path(self._folder, f"{uuid.uuid4().hex}.jsonl")
        with self._path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in self._lines))
        self._lines.clear()


class TracedReadPartition(kafka_source.ReadPartition):
    """Records when a batch was taken, and when it was handed over, at the end of the source's bundle."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._trace = Trace()
        self._taken: list[tuple[OffsetSpan, float]] = []

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        element: Partition,
        tracker: RestrictionTracker = beam.DoFn.RestrictionParam(),
        watermark: WatermarkEstimator = beam.DoFn.WatermarkEstimatorParam(),
    ) -> Iterator[TimestampedValue]:
        for one in super().process(element, tracker, watermark):
            self._taken.append((one.value.span, time.time()))
            yield one

    def finish_bundle(self) -> None:
        now = time.time()
        for span, taken in self._taken:
            self._trace.note(span, {"taken": taken, "read": now})
        self._taken.clear()
        self._trace.write()


class TracedScoreBatch(scoring.ScoreBatch):
    """Records when the scoring of a batch began and ended."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._trace = Trace()

    def process(self, element: RecordBatch, positions: Iterable[bytes]) -> Iterator[OutgoingBatch]:
        began = time.time()
        outgoing = list(super().process(element, positions))
        self._trace.note(element.span, {"began": began, "scored": time.time()})
        yield from outgoing

    def finish_bundle(self) -> None:
        self._trace.write()


class TracedProduceMessages(kafka_sink.ProduceMessages):
    """Records when the messages of a batch were handed to the producer, and when the broker had acknowledged them."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._trace = Trace()
        self._produced: list[tuple[OffsetSpan, float]] = []

    def process(self, element: OutgoingBatch) -> None:
        super().process(element)
        self._produced.append((element.span, time.time()))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        spans = list(super().finish_bundle())
        now = time.time()
        for span, produced in self._produced:
            self._trace.note(span, {"produced": produced, "acknowledged": now})
        self._produced.clear()
        self._trace.write()
        yield from spans


def read_traces(folder: Path, topic: str) -> dict[tuple[int, int], dict[str, float]]:
    """The times of each batch of a topic, by its first offset and the one after its last; the first of each name."""
    found: dict[tuple[int, int], dict[str, float]] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            named = json.loads(line)
            if named.pop("topic") == topic:
                batch = found.setdefault((named.pop("start"), named.pop("end")), {})
                for name, value in named.items():
                    batch.setdefault(name, value)
    return found


def main(arguments: Sequence[str]) -> int:
    """Runs the command line with the traced steps instead of the plain ones."""
    from beam_pipeline.cli.command_line import main as run_command

    for module, step in (
        (kafka_source, TracedReadPartition),
        (scoring, TracedScoreBatch),
        (kafka_sink, TracedProduceMessages),
    ):
        setattr(module, step.__base__.__name__, step)
    return run_command(list(arguments))


if __name__ == "__main__":
    # Imported by its name, because workers must find the steps under the name with which they were pickled.
    from benchmarks.contenders import traced

    sys.exit(traced.main(sys.argv[1:]))
