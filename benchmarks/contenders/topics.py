"""The topics of a measurement: creating and filling them, and reading the results."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from models.kafka.client import KafkaSettings

_GROUP = "benchmark"


@dataclass(frozen=True)
class Topics:
    """The topics of one measurement."""

    records: str
    results: str
    models: str


def make_topics(kafka: KafkaSettings, partitions: int = 1) -> Topics:
    """Creates topics; the timestamps of records and results are the broker's times of arrival."""
    mark = uuid.uuid4().hex[:8]
    topics = Topics(f"records-{mark}", f"results-{mark}", f"models-{mark}")
    wanted = [
        NewTopic(name, partitions, 1, config={"message.timestamp.type": "LogAppendTime"})
        for name in (topics.records, topics.results)
    ]
    admin = kafka.admin()
    for future in admin.create_topics(wanted).values():
        future.result()
    return topics


def fill(kafka: KafkaSettings, topic: str, values: Sequence[bytes], partitions: int = 1) -> None:
    """Puts records into a topic as fast as possible."""
    producer = kafka.producer(**{"linger.ms": 20})
    for number, value in enumerate(values):
        _produce(producer, topic, value, number, number % partitions)
    producer.flush()


def _produce(producer: Producer, topic: str, value: bytes, number: int, partition: int) -> None:
    while True:
        try:
            producer.produce(topic, value, str(number).encode(), partition=partition)
            return
        except BufferError:
            producer.poll(0.05)


def results_reader(kafka: KafkaSettings, topic: str, partitions: int = 1) -> Consumer:
    """A consumer of all results, from the first one on."""
    consumer = kafka.consumer(_GROUP)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    return consumer


def read_results(consumer: Consumer, count: int, seconds: float) -> list[Message]:
    """Waits for `count` results; raises RuntimeError when they do not arrive in time."""
    results: list[Message] = []
    deadline = time.monotonic() + seconds
    while len(results) < count:
        results += [message for message in consumer.consume(10_000, 0.1) if message.error() is None]
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(results)} of {count} results after {seconds:g} s")
    return results


def await_results(kafka: KafkaSettings, topic: str, count: int, seconds: float) -> None:
    """Waits until the first partition of a topic holds `count` messages, without reading them.

    A reader beside a contender would take a share of the processor that grows with the contender's speed: at 70,000
    results/s it took up to half a core of two.

    Raises:
      RuntimeError: they do not arrive in time.
    """
    consumer = kafka.consumer(_GROUP)
    try:
        deadline = time.monotonic() + seconds
        while (found := consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10.0)[1]) < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{found} of {count} results after {seconds:g} s")
            time.sleep(0.2)
    finally:
        consumer.close()


def rate(results: Sequence[Message]) -> float:
    """Results per second by the broker's clock, without the first tenth, in which caches fill."""
    times = np.sort(np.array([message.timestamp()[1] for message in results], np.int64))
    first = len(times) // 10
    return float((len(times) - first) / (times[-1] - times[first]) * 1000)
