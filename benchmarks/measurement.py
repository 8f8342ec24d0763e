"""What is read off the results topic: speeds and latencies, and how they are told."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from models.kafka.client import KafkaSettings

_GROUP = "benchmark"


def fill(kafka: KafkaSettings, topic: str, values: Sequence[bytes], partitions: int = 1) -> None:
    """Puts records into a topic as fast as it takes them."""
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
    """A consumer of all results from the first one on."""
    consumer = kafka.consumer(_GROUP)
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    return consumer


def read_results(consumer: Consumer, count: int, seconds: float) -> list[Message]:
    """Waits for so many results; raises RuntimeError when they do not come in time."""
    results: list[Message] = []
    deadline = time.monotonic() + seconds
    while len(results) < count:
        results += [message for message in consumer.consume(10_000, 0.1) if message.error() is None]
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(results)} of {count} results after {seconds:g} s")
    return results


def await_results(kafka: KafkaSettings, topic: str, count: int, seconds: float) -> None:
    """Waits until the first partition of a topic holds so many messages, without reading them.

    A reader beside a contender would take a share of the processor that grows with the contender's speed: at 70,000
    results/s it took up to half a core of two.

    Raises:
      RuntimeError: they do not come in time.
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
    """Results a second by the broker's clock, without the first tenth, in which caches fill."""
    times = np.sort(np.array([message.timestamp()[1] for message in results], np.int64))
    first = len(times) // 10
    return float((len(times) - first) / (times[-1] - times[first]) * 1000)


class SteadyRecords:
    """Sends records at a steady rate, each stamped with the moment at which it was due."""

    def __init__(self, kafka: KafkaSettings, topic: str, values: Sequence[bytes], a_second: float) -> None:
        self._producer = kafka.producer(**{"linger.ms": 0})
        self._topic = topic
        self._values = values
        self._rate = a_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent = 0

    def __enter__(self) -> SteadyRecords:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._producer.flush()

    def _run(self) -> None:
        start = time.time()
        while not self._stop.is_set():
            while self.sent < (time.time() - start) * self._rate:
                due = start + self.sent / self._rate
                value = self._values[self.sent % len(self._values)]
                self._producer.produce(self._topic, value, repr(due).encode())
                self.sent += 1
            self._producer.poll(0)
            time.sleep(0.001)


def latencies(results: Sequence[Message]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Milliseconds from when a record was due (its key) to when its result reached the broker."""
    return np.array([message.timestamp()[1] - float(message.key()) * 1000 for message in results])


@dataclass(frozen=True)
class Compared:
    """Figures of several contenders, measured in turns: a list for each, in the order of the turns."""

    title: str
    unit: str
    figures: dict[str, list[float]]

    def table(self) -> list[str]:
        """Lines: each contender's minimum, median and maximum, and its ratio to the first one, turn by turn."""
        base = next(iter(self.figures))
        lines = [
            f"{self.title} ({self.unit})",
            f"  {'':16}{'min':>10}{'median':>10}{'max':>10}{'  ratio to ' + base:>26}",
        ]
        for name, values in self.figures.items():
            ratios = [value / other for value, other in zip(values, self.figures[base], strict=True)]
            shown = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
            middle = statistics.median(values)
            lines.append(f"  {name:16}{min(values):10.1f}{middle:10.1f}{max(values):10.1f}{shown:>26}")
        return lines


def in_turns(names: Sequence[str], turns: int, measure: Callable[[str], list[float]]) -> dict[str, list[list[float]]]:
    """Measures each contender once a turn, so that a drifting machine drifts for all."""
    figures: dict[str, list[list[float]]] = {name: [] for name in names}
    for turn in range(turns):
        for name in names:
            figures[name].append(measure(name))
            shown = ", ".join(f"{value:.1f}" for value in figures[name][-1])
            print(f"  turn {turn + 1} of {turns}: {name}: {shown}", flush=True)
    return figures
