"""The loop without an engine: confluent-kafka, fastavro and TensorFlow in one process, 500 records a batch.

    python -m benchmarks.bare_loop BOOTSTRAP_SERVERS RECORDS_TOPIC RESULTS_TOPIC MODEL_FOLDER START

It is what a careful engineer writes in an afternoon: batches, arrays for the whole batch, an idempotent producer; the
results hold what ours hold.
"""

from __future__ import annotations

import io
import sys
import time
from typing import Any

import fastavro
import numpy as np
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from models.records.record_type import RecordType
from models.results.schema import result_schema

BATCH = 500


def main(servers: str, records_topic: str, results_topic: str, model: str, start: str) -> None:
    """Scores until it is killed."""
    import tensorflow as tf

    loaded = tf.saved_model.load(model)
    score = loaded.signatures["serving_default"]
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "bare-loop", "enable.auto.commit": False})
    consumer.assign([TopicPartition(records_topic, 0, {"earliest": -2, "latest": -1}[start])])
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True, "linger.ms": 0})
    read = fastavro.parse_schema(RecordType.named("recommender").declared)
    write = fastavro.parse_schema(result_schema(RecordType.named("recommender").codec.embedding))
    while True:
        messages = consumer.consume(BATCH, 0.01)
        if messages:
            results = _score(tf, score, read, messages, model)
            _send(producer, results_topic, write, messages, results)
            consumer.commit(asynchronous=True)


def _score(tf: Any, score: Any, read: Any, messages: list[Message], model: str) -> list[dict[str, Any]]:
    rows = [fastavro.schemaless_reader(io.BytesIO(message.value()), read, None) for message in messages]
    began, clock = time.time_ns() // 1000, time.perf_counter()
    lengths = [len(row["products"]) for row in rows]
    users = np.repeat(np.array([row["user"] for row in rows], np.float32), lengths)[:, None]
    products = np.concatenate([np.array(row["products"], np.float32) for row in rows])[:, None]
    predictions = score(users=tf.constant(users), products=tf.constant(products))["predictions"].numpy()
    shared = {
        "errors": None,
        "modelName": "recommender",
        "modelVersion": 1,
        "modelType": "tensorflow-saved-model",
        "modelSourceLocation": model,
        "digest": None,
        "descriptorOffset": 0,
        "startTime": began,
        "duration": round((time.perf_counter() - clock) * 1e6),
        "batchSize": len(rows),
    }
    ends = np.cumsum(lengths).tolist()
    return [
        {
            "inputRecord": row,
            "outputs": {
                "predictions": {
                    "shape": [length, 1],
                    "values": ("beam.serving.Floats", {"items": predictions[end - length : end, 0].tolist()}),
                }
            },
            "modelResultMetadata": {
                **shared,
                "topic": message.topic(),
                "partition": message.partition(),
                "offset": message.offset(),
            },
        }
        for row, message, length, end in zip(rows, messages, lengths, ends, strict=True)
    ]


def _send(producer: Producer, topic: str, write: Any, messages: list[Message], results: list[dict[str, Any]]) -> None:
    for message, result in zip(messages, results, strict=True):
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, write, result)
        producer.produce(topic, buffer.getvalue(), message.key())
    producer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
