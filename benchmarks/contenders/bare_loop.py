"""The loop without an engine: confluent-kafka, fastavro and TensorFlow in one process.

    python -m benchmarks.contenders.bare_loop SERVERS RECORDS_TOPIC RESULTS_TOPIC MODEL_FOLDER START [strong|waiting]

It is the loop that a careful engineer would write for speed: batches of up to 2,000 records, taken as soon as there are
any, arrays for a whole batch, an idempotent producer that is flushed once a second before the offsets are committed,
and a garbage collector that runs rarely (with Python's own thresholds, collections among the rows of large batches make
the loop a third slower). Its results have the same content as ours.
"""

from __future__ import annotations

import gc
import io
import sys
import time
from dataclasses import dataclass
from typing import Any

import fastavro
import numpy as np
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from models.records.record_type import RecordType
from models.results.schema import result_schema

TAKE = 2_000
COMMIT_SECONDS = 1.0
COLLECT_AFTER = 100_000  # objects; measured: 26 to 43 thousand records/s


@dataclass(frozen=True)
class Habits:
    """The differences between such loops.

    Attributes:
      take: the maximum number of messages in a batch.
      flush_seconds: the interval at which the producer is flushed and the offsets are committed; 0 for each batch.
    """

    take: int
    flush_seconds: float


# The strong loop waits for the broker once a second. The other one waits after each batch, like many loops that commit
# the offsets right after the results.
HABITS = {"strong": Habits(TAKE, COMMIT_SECONDS), "waiting": Habits(500, 0.0)}


def main(servers: str, records_topic: str, results_topic: str, model: str, start: str, habits: str = "strong") -> None:
    """Scores until killed."""
    import tensorflow as tf

    loaded = tf.saved_model.load(model)
    score = loaded.signatures["serving_default"]
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "bare-loop", "enable.auto.commit": False, **_FETCH})
    consumer.assign([TopicPartition(records_topic, 0, {"earliest": -2, "latest": -1}[start])])
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True, "linger.ms": 5, **_QUEUE})
    read = fastavro.parse_schema(RecordType.named("recommender").declared)
    write = fastavro.parse_schema(result_schema(RecordType.named("recommender").codec.embedding))
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
    loop = Loop(consumer, producer, HABITS[habits])
    while True:
        messages = loop.take()
        if messages:
            _send(producer, results_topic, write, messages, _score(tf, score, read, messages, model))
        loop.commit_if_due()


# Without these, the fetcher pauses for a second whenever its queue is full, and small requests wait for each other.
_FETCH = {"fetch.queue.backoff.ms": 5, "queued.min.messages": 20_000, "socket.nagle.disable": True}
_QUEUE = {"queue.buffering.max.messages": 1_000_000, "socket.nagle.disable": True}


class Loop:
    """Takes messages and commits offsets."""

    def __init__(self, consumer: Consumer, producer: Producer, habits: Habits) -> None:
        self._consumer = consumer
        self._producer = producer
        self._habits = habits
        self._due = time.monotonic() + habits.flush_seconds
        self._uncommitted = False

    def take(self) -> list[Message]:
        """All available messages, as soon as there are any: a `consume` with a timeout would wait for a full batch."""
        first = self._consumer.poll(0.1)
        if first is None:
            return []
        messages = [first, *self._consumer.consume(self._habits.take - 1, 0)]
        self._uncommitted = True
        return [message for message in messages if message.error() is None]

    def commit_if_due(self) -> None:
        """Flushes the producer, then commits the offsets of the messages taken before."""
        if self._uncommitted and time.monotonic() >= self._due:
            self._producer.flush()
            self._consumer.commit(asynchronous=True)
            self._due = time.monotonic() + self._habits.flush_seconds
            self._uncommitted = False


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
        _produce(producer, topic, buffer.getvalue(), message.key())
    producer.poll(0)


def _produce(producer: Producer, topic: str, value: bytes, key: bytes | None) -> None:
    while True:
        try:
            producer.produce(topic, value, key)
            return
        except BufferError:  # the queue is full: wait until some messages are acknowledged
            producer.poll(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
