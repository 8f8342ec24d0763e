"""A steady stream of records and a contender that scores it, for figures of latency, memory and updates."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, Message

from benchmarks.contenders.process import START_SECONDS, WARM_SECONDS, Runner, contender
from benchmarks.contenders.topics import Topics, read_results, results_reader
from benchmarks.recommender.model import records
from benchmarks.turns import Compared
from models.kafka.client import KafkaSettings

RATE = 500.0
"""Records a second."""


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
class SteadyStream:
    """A contender that is scoring a steady stream.

    Attributes:
      process: the contender.
      results: reads its results.
      records: sends the records.
    """

    process: subprocess.Popen[bytes]
    results: Consumer
    records: SteadyRecords

    def warm_up(self) -> None:
        """Waits until the contender has compiled what it compiles at first use, and skips the results of that time."""
        time.sleep(WARM_SECONDS)
        read_results(self.results, 1, 5.0)

    def read(self, seconds: float) -> list[Message]:
        """The results of the next `seconds`."""
        return read_results(self.results, int(RATE * seconds), 10 * seconds)


@contextmanager
def steady_stream(
    name: str,
    kafka: KafkaSettings,
    topics: Topics,
    model: Path,
    runner: Runner,
    traces: Path | None = None,
    distinct: int = 10_000,
) -> Iterator[SteadyStream]:
    """Runs a contender on steady records, `distinct` of them different, and yields once there are results."""
    reader = results_reader(kafka, topics.results)
    with (
        contender(name, kafka, topics, model, "latest", runner, traces) as process,
        SteadyRecords(kafka, topics.records, records(distinct), RATE) as sent,
    ):
        read_results(reader, 1_000, START_SECONDS)
        yield SteadyStream(process, reader, sent)


def median_and_late(results: list[Message]) -> list[float]:
    """The 50th and the 99th percentile of the latencies, in milliseconds."""
    return [float(value) for value in np.percentile(latencies(results), [50, 99])]


def print_latencies(figures: Mapping[str, list[list[float]]]) -> None:
    """Prints tables of the results of `median_and_late` for each contender, turn by turn."""
    for place, title in enumerate(("latency at 500 records/s, p50", "latency at 500 records/s, p99")):
        flat = {name: [one[place] for one in values] for name, values in figures.items()}
        print("\n".join(Compared(title, "ms", flat).table()), flush=True)
