"""The cost of each stage of a record, measured by itself in this process on the output of the stage before.

The figures are the processor time of the whole process, including the threads of librdkafka and TensorFlow. They do not
include the engine, whose cost a runner adds to their sum.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.contenders.topics import Topics, fill, make_topics
from benchmarks.recommender.loading import load_model
from benchmarks.recommender.model import INPUTS, records
from models.columns.mapping import ModelInputs, plan_inputs, to_model_inputs
from models.columns.outputs import RecordOutputs, select_outputs
from models.columns.scored import ModelCall, ScoredRecords
from models.kafka.client import KafkaSettings
from models.kafka.partition_reader import Partition, PartitionReader, ReadSettings
from models.loading.loader import LoadedModel
from models.records.batch import RecordBatch
from models.records.codecs.base import DecodedRecords
from models.records.outgoing import OutgoingBatch
from models.records.record_type import RecordType
from models.results.dead_letter import DeadLetterTopic
from models.serving.assembly import ScoringSettings, assemble
from transforms.kafka_sink import ProduceMessages

_WARM_RECORDS = 40_000
_BATCH = 2_000
_BATCHES_A_BUNDLE = 4

T = TypeVar("T")


@dataclass
class StageTimes:
    """Microseconds of processor time per record, by stage in the order in which they ran."""

    count: int
    times: dict[str, float] = field(default_factory=dict)

    def measure(self, name: str, work: Callable[[], T]) -> T:
        """Measures the work of one stage on all records, and returns its result."""
        start = time.process_time()
        result = work()
        self.times[name] = (time.process_time() - start) * 1e6 / self.count
        return result

    def table(self) -> list[str]:
        """Lines with each stage, and with the sum."""
        lines = [f"  {name:26}{value:8.2f}" for name, value in self.times.items()]
        return ["microseconds of processor time per record", *lines, f"  {'sum':26}{sum(self.times.values()):8.2f}"]


def measure_stages(kafka: KafkaSettings, folder: Path, count: int) -> StageTimes:
    """Takes the records of a topic through every stage, once to warm up and once for the figures."""
    model = load_model(str(folder))
    _measure(kafka, model, _WARM_RECORDS)
    return _measure(kafka, model, count)


def _measure(kafka: KafkaSettings, model: LoadedModel, count: int) -> StageTimes:
    topics = make_topics(kafka)
    fill(kafka, topics.records, records(count))
    times = StageTimes(count)
    batches = times.measure("consume, columns out", lambda: list(_take(kafka, topics, count)))
    moved = times.measure("batch to bytes and back", lambda: list(map(_there_and_back, batches)))
    _produce(kafka, topics, _score(model, moved, topics, times), times)
    return times


def _take(kafka: KafkaSettings, topics: Topics, count: int) -> Iterator[RecordBatch]:
    """All records, read by the source's own reader; that does not wait for records, so this pauses between reads."""
    reader = PartitionReader(ReadSettings(kafka, "stages", max_records=_BATCH), Partition(topics.records, "", 0))
    position = 0
    while position < count:
        batch = reader.take(position, 0)
        if len(batch) < _BATCH:
            time.sleep(0.01)
        if len(batch):
            position = batch.span.end
            yield batch
    reader.close()


def _there_and_back(batch: RecordBatch) -> RecordBatch:
    """The batch after the encoding with which it crosses from the source's stage to the scoring stage."""
    return RecordBatch.from_bytes(batch.to_bytes())


def _score(
    model: LoadedModel, batches: Sequence[RecordBatch], topics: Topics, times: StageTimes
) -> list[OutgoingBatch]:
    record_type = RecordType.named("recommender")
    codec = record_type.codec
    signature = model.scorer.signature
    mapping = plan_inputs(signature, INPUTS, codec)
    settings = ScoringSettings({topics.records: record_type}, topics.results, f"{topics.results}-dead-letters")

    def answer(one: ModelInputs) -> RecordOutputs:
        return select_outputs(model.scorer.score(one.arrays).outputs, {}, one.rows, one.bounds)

    def messages(batch: RecordBatch, decoded: DecodedRecords, outputs: RecordOutputs) -> OutgoingBatch:
        call = ModelCall(model.identity(None), 0, 0, len(batch))
        scored = ScoredRecords(np.arange(len(decoded)), call, outputs)
        return assemble(batch, decoded, [scored], settings).outgoing

    decoded = times.measure("decode", lambda: [codec.decode(one.values) for one in batches])
    inputs = times.measure("columns to inputs", lambda: [to_model_inputs(mapping, one.columns) for one in decoded])
    outputs = times.measure("model", lambda: list(map(answer, inputs)))
    return times.measure("encode results", lambda: list(map(messages, batches, decoded, outputs)))


def _produce(kafka: KafkaSettings, topics: Topics, outgoing: Sequence[OutgoingBatch], times: StageTimes) -> None:
    sink = ProduceMessages(kafka, DeadLetterTopic(f"{topics.results}-dead-letters"))
    sink.setup()

    def bundles() -> None:
        for start in range(0, len(outgoing), _BATCHES_A_BUNDLE):
            sink.start_bundle()
            for batch in outgoing[start : start + _BATCHES_A_BUNDLE]:
                sink.process(batch)
            list(sink.finish_bundle())

    times.measure("produce", bundles)
    sink.teardown()
