"""A contender that scores a steady stream, as all figures of latency, memory and updates measure it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, Message

from benchmarks.contenders import START_SECONDS, WARM_SECONDS, Runner, Topics, contender
from benchmarks.measurement import Compared, SteadyRecords, latencies, read_results, results_reader
from benchmarks.recommender import records
from models.kafka.client import KafkaSettings

RATE = 500.0
"""Records a second."""


@dataclass(frozen=True)
class SteadyStream:
    """A contender at work.

    Attributes:
      process: the contender.
      results: what reads its results.
      records: what sends the records.
    """

    process: subprocess.Popen[bytes]
    results: Consumer
    records: SteadyRecords

    def warm_up(self) -> None:
        """Waits until what is compiled at first use is compiled, and leaves the results of that time behind."""
        time.sleep(WARM_SECONDS)
        read_results(self.results, 1, 5.0)

    def read(self, seconds: float) -> list[Message]:
        """The results of so many seconds."""
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
    """Runs a contender beside steady records, of which so many are distinct, and yields once it gives results."""
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
    """Tables of what `median_and_late` gave for each contender, turn by turn."""
    for place, title in enumerate(("latency at 500 records/s, p50", "latency at 500 records/s, p99")):
        flat = {name: [one[place] for one in values] for name, values in figures.items()}
        print("\n".join(Compared(title, "ms", flat).table()), flush=True)
