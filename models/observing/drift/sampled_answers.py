"""A sample of the answers of a worker: chosen on the threads that score, and looked at later."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from models.columns.mapping import InputMapping
from models.columns.outputs import RecordOutputs, joined_outputs
from models.columns.scored import ScoredRecords
from models.observing.answered import AnsweredBatch
from models.observing.drift.field_values import feature_values, output_values
from models.observing.drift.profile import FieldKey, Values
from models.observing.sampling import smallest, uniform
from models.records.batch import Longs

_MOST_WAITING = 1_000

Version = tuple[str, int]
"""The name and version of a model."""


@dataclass(frozen=True)
class SampledAnswers:
    """Some records of one call.

    Attributes:
      answered: the batch.
      part: the call.
      places: the places of the records among those of the call, ascending: int64 [records].
    """

    answered: AnsweredBatch
    part: ScoredRecords
    places: Longs

    @property
    def version(self) -> Version:
        """The version that answered; 0 if a server did not name it."""
        model = self.part.call.model
        assert model is not None
        return model.name, model.version or 0

    @property
    def milliseconds(self) -> int:
        """When the batch was answered, in milliseconds since 1970-01-01 UTC."""
        return self.answered.times.end // 1_000_000

    def columns(self) -> pa.RecordBatch:
        """The columns of the records."""
        return self.answered.decoded.columns.take(pa.array(self.part.rows[self.places]))

    def outputs(self) -> RecordOutputs | None:
        """The outputs of the records."""
        return None if self.part.outputs is None else self.part.outputs.take(self.places)

    def coordinates(self) -> list[bytes]:
        """TOPIC-PARTITION-OFFSET of each record."""
        span, batch = self.answered.batch.span, self.answered.batch
        offsets = batch.offsets[self.answered.decoded.places[self.part.rows[self.places]]]
        return [f"{span.topic}-{span.partition}-{offset}".encode() for offset in offsets.tolist()]


class AnswerSample:
    """Chooses the records to look at. Thread-safe.

    Of each version, it takes at most a fixed number of records a second, and of each call those that their coordinates
    choose. It takes nothing while too many calls are waiting to be looked at.

    Args:
      records_a_second: the most records of a version in a second.
      clock: returns a number of seconds that never decreases.
    """

    def __init__(self, records_a_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = records_a_second
        self._clock = clock
        self._lock = threading.Lock()
        self._second = 0
        self._taken: dict[Version, int] = {}
        self._waiting: deque[SampledAnswers] = deque()

    def take(self, answered: AnsweredBatch) -> None:
        """Takes some of the records of a batch."""
        for part in answered.scored:
            model = part.call.model
            if model is None or not len(part.rows):
                continue
            count = self._room((model.name, model.version or 0), len(part.rows))
            if count:
                rows = answered.decoded.places[part.rows]
                span = answered.batch.span
                numbers = uniform(span.topic, span.partition, answered.batch.offsets[rows])
                self._waiting.append(SampledAnswers(answered, part, smallest(numbers, count)))

    def _room(self, version: Version, wanted: int) -> int:
        """How many more records of a version are looked at in this second; they count as taken."""
        second = int(self._clock())
        with self._lock:
            if len(self._waiting) >= _MOST_WAITING:
                return 0
            if second != self._second:
                self._second, self._taken = second, {}
            taken = self._taken.get(version, 0)
            count = min(wanted, self._most - taken)
            self._taken[version] = taken + count
            return count

    def drain(self) -> list[SampledAnswers]:
        """The calls taken since the last time."""
        return [self._waiting.popleft() for _ in range(len(self._waiting))]


def mapped_fields(mapping: InputMapping | None) -> tuple[str, ...]:
    """The fields of records that fill the inputs of a model; none if that is not known, as for a graph."""
    columns = () if mapping is None else mapping.columns
    return tuple(dict.fromkeys(name for column in columns for name in column.fields))


def grouped_values(samples: Iterable[SampledAnswers]) -> Iterator[tuple[int, dict[FieldKey, Values]]]:
    """The number of records and the values of their fields, a few large groups of records at a time.

    Args:
      samples: the samples, of one version.
    """
    columns: dict[object, list[pa.RecordBatch]] = defaultdict(list)
    outputs: dict[object, list[RecordOutputs]] = defaultdict(list)
    features: tuple[str, ...] = ()
    for sample in samples:
        features = features or mapped_fields(sample.part.mapping)
        taken = sample.columns()
        columns[taken.schema].append(taken)
        answers = sample.outputs()
        if answers is not None:
            outputs[_shape(answers)].append(answers)
    for alike in columns.values():
        together = pa.concat_batches(alike)
        yield together.num_rows, dict(feature_values(together, features))
    for answered in outputs.values():
        yield 0, dict(output_values(joined_outputs(answered)))


def _shape(outputs: RecordOutputs) -> object:
    arrays = tuple((name, array.dtype.str, array.shape[1:]) for name, array in outputs.arrays.items())
    return arrays, outputs.bounds is None
