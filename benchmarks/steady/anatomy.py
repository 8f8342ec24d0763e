"""The anatomy of latency: each record's path, divided into phases by the steps that it passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from confluent_kafka import Message

from benchmarks.contenders.traced import read_traces

# The moments on a record's path, in order, each with the name of the phase that ends at it.
_MOMENTS = ("due", "arrived", "taken", "read", "began", "scored", "produced", "answered")
_PHASES = {
    "arrived": "due to broker",
    "taken": "broker to source",
    "read": "end of the source's bundle",
    "began": "source to scoring",
    "scored": "scoring",
    "produced": "handing to the producer",
    "answered": "producer to broker",
}
_LATE = 99.0

Milliseconds = np.ndarray[tuple[int], np.dtype[np.float64]]


@dataclass(frozen=True)
class Anatomy:
    """The latencies of records, in milliseconds, phase by phase.

    Attributes:
      phases: one value per record for each phase, by its name; a record has the same index in all phases.
    """

    phases: Mapping[str, Milliseconds]

    @property
    def total(self) -> Milliseconds:
        """The time from when each record was due to its result's arrival at the broker."""
        total: Milliseconds = np.array(list(self.phases.values())).sum(axis=0)
        return total

    def table(self) -> list[str]:
        """Lines with each phase's median and 99th percentile, and its mean over the slowest 1 % of the records."""
        total = self.total
        late = total >= np.percentile(total, _LATE)
        lines = [
            f"milliseconds of {len(total)} records",
            f"  {'':28}{'p50':>8}{'p99':>8}{'  mean of the latest 1 %':>24}",
        ]
        for name, values in (*self.phases.items(), ("all", total)):
            middle, high = np.percentile(values, 50), np.percentile(values, _LATE)
            lines.append(f"  {name:28}{middle:8.1f}{high:8.1f}{values[late].mean():24.1f}")
        return lines


def anatomy(records: Sequence[Message], results: Sequence[Message], traces: Path, topic: str) -> Anatomy:
    """Joins records with the traces of their batches and with their results.

    Args:
      records: the records of the topic from the first one on, each with the time at which it was due as its key, and
        with the broker's timestamp.
      results: some of their results, with the same keys and the broker's timestamps.
      traces: the folder to which the pipeline wrote its traces.
      topic: the records topic.
    """
    batches = _batch_by_offset(traces, topic)
    arrived = {one.key(): one for one in records}
    rows = []
    for result in results:
        record = arrived[result.key()]
        batch = batches.get(record.offset() or 0)
        if batch is not None and {"taken", "began", "produced"} <= batch.keys():
            due, at = float(record.key() or b"0"), record.timestamp()[1] / 1000
            named = {**batch, "due": due, "arrived": at, "answered": result.timestamp()[1] / 1000}
            rows.append([named[moment] for moment in _MOMENTS])
    times = np.array(rows).T * 1000
    return Anatomy(
        {_PHASES[_MOMENTS[place + 1]]: later - sooner for place, (sooner, later) in enumerate(pairwise(times))}
    )


def _batch_by_offset(traces: Path, topic: str) -> dict[int, dict[str, float]]:
    found = {}
    for (start, end), times in read_traces(traces, topic).items():
        for offset in range(start, end):
            found[offset] = times
    return found
