"""Beam's own RunInference, on the same runner, between our Kafka source and sink (Beam has none that runs here).

python -m benchmarks.contenders.run_inference SERVERS RECORDS_TOPIC RESULTS_TOPIC MODEL_FOLDER START RUNNER [OPTION...]
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import fastavro
import numpy as np
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.running import run_until_signalled
from models.kafka.client import KafkaSettings
from models.kafka.partition_reader import ReadSettings
from models.kafka.start_at import StartAt
from models.records.batch import OffsetSpan, RecordBatch
from models.records.outgoing import OutgoingBatch, OutgoingMessage
from models.records.record_type import RecordType
from models.results.dead_letter import DeadLetterTopic
from models.results.schema import result_schema
from runners.plan import plan_runner
from transforms.kafka_sink import WriteToKafka
from transforms.kafka_source import Pace, ReadFromKafka

KeyedRow = tuple[bytes | None, dict[str, Any]]


class SavedModelHandler(ModelHandler[KeyedRow, PredictionResult, Any]):
    """A plain SavedModel with a signature, which Beam's own TensorFlow handler does not support."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def load_model(self) -> Any:
        import tensorflow as tf

        return tf.saved_model.load(self._folder)

    def run_inference(
        self, batch: Sequence[KeyedRow], model: Any, inference_args: dict[str, Any] | None = None
    ) -> Iterable[PredictionResult]:
        import tensorflow as tf

        rows = [row for _, row in batch]
        lengths = [len(row["products"]) for row in rows]
        users = np.repeat(np.array([row["user"] for row in rows], np.float32), lengths)[:, None]
        products = np.concatenate([np.array(row["products"], np.float32) for row in rows])[:, None]
        answer = model.signatures["serving_default"](users=tf.constant(users), products=tf.constant(products))
        ends = np.cumsum(lengths)[:-1]
        return map(PredictionResult, batch, np.split(answer["predictions"].numpy(), ends))

    def batch_elements_kwargs(self) -> dict[str, Any]:
        return {"min_batch_size": 1, "max_batch_size": 500}


class Decode(beam.DoFn):
    """Decodes a list of records into single records, which RunInference requires."""

    def setup(self) -> None:
        self._schema = fastavro.parse_schema(RecordType.named("recommender").declared)

    def process(self, element: RecordBatch) -> Iterator[KeyedRow]:
        for key, value in zip(element.keys.to_pylist(), element.values.to_pylist(), strict=True):
            yield key, fastavro.schemaless_reader(io.BytesIO(value or b""), self._schema, None)


class Encode(beam.DoFn):
    """Encodes a prediction as a message."""

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def setup(self) -> None:
        self._schema = fastavro.parse_schema(result_schema(RecordType.named("recommender").codec.embedding))

    def process(self, element: PredictionResult) -> Iterator[OutgoingBatch]:
        predictions, (key, row) = element.inference, element.example
        result = {
            "inputRecord": row,
            "outputs": {
                "predictions": {
                    "shape": list(predictions.shape),
                    "values": ("beam.serving.Floats", {"items": predictions[:, 0].tolist()}),
                }
            },
            "modelResultMetadata": {
                "topic": "",
                "partition": 0,
                "offset": 0,
                "startTime": 0,
                "duration": 0,
                "batchSize": 0,
            },
        }
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, self._schema, result)
        message = OutgoingMessage(self._topic, key, buffer.getvalue())
        yield OutgoingBatch(OffsetSpan("", "", 0, 0, 0, 0), messages=[message])


def main(
    servers: str, records_topic: str, results_topic: str, model: str, start: str, runner: str, *arguments: str
) -> None:
    """Scores until stopped."""
    kafka = KafkaSettings(servers)
    settings = ReadSettings(kafka, "run-inference", StartAt.parse(start))
    plan = plan_runner(runner, arguments)
    pipeline = beam.Pipeline(options=PipelineOptions(list(plan.arguments)))
    (
        pipeline
        | ReadFromKafka([records_topic], settings, Pace())
        | beam.Reshuffle()
        | beam.ParDo(Decode())
        | RunInference(SavedModelHandler(model))
        | beam.ParDo(Encode(results_topic)).with_output_types(OutgoingBatch)
        | WriteToKafka(kafka, DeadLetterTopic(f"{results_topic}-dead-letters"))
        | "End" >> beam.Map(lambda _: 0)
        | "Keep" >> beam.Reshuffle()
    )
    run_until_signalled(pipeline.run, plan, "RunInference runs")


if __name__ == "__main__":
    main(*sys.argv[1:])
