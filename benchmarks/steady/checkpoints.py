"""The size and duration of a Flink job's checkpoints while the models topic grows."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders.process import publish
from benchmarks.contenders.topics import Topics
from models.kafka.client import KafkaSettings
from models.model_topic.descriptor import ModelPointer, encode_pointer, pointer_key
from runners.flink.rest import FlinkRest

_PAUSE_SECONDS = 0.1
_CHECKPOINTS = 5


@dataclass(frozen=True)
class CheckpointFigures:
    """Medians over a few consecutive checkpoints: bytes of state, and milliseconds from trigger to completion."""

    size: float
    milliseconds: float

    def __str__(self) -> str:
        return f"{self.size:,.0f} bytes, {self.milliseconds:.0f} ms"


def before_and_after(
    rest: FlinkRest, kafka: KafkaSettings, topics: Topics, model: Path, updates: int
) -> tuple[CheckpointFigures, CheckpointFigures]:
    """The checkpoints of the only running job, before and after this many updates, with ten firings per second.

    An update is a pointer that alternates between two versions, as `rollback` writes it.
    """
    first = publish(kafka, topics, model)
    second = publish(kafka, topics, model)
    before = _next_checkpoints(rest)
    producer = kafka.producer()
    burst = max(1, updates // 1_000)
    for number in range(updates):
        live, previous = (first, second) if number % 2 else (second, first)
        pointer = ModelPointer(first.model_name, live.model_version, previous.model_version, second.model_version)
        producer.produce(topics.models, encode_pointer(pointer), pointer_key(first.model_name))
        if number % burst == 0:
            producer.flush()
            time.sleep(_PAUSE_SECONDS)
    producer.flush()
    return before, _next_checkpoints(rest)


def _next_checkpoints(rest: FlinkRest) -> CheckpointFigures:
    (job_id,) = [job["jid"] for job in rest.ask("GET", "jobs/overview")["jobs"] if job["state"] == "RUNNING"]
    known = rest.ask("GET", f"jobs/{job_id}/checkpoints")["counts"]
    while True:
        time.sleep(1.0)
        found = rest.ask("GET", f"jobs/{job_id}/checkpoints")
        # Checkpoints that are due before all tasks run count as failed, so only new failures matter.
        if found["counts"]["failed"] > known["failed"]:
            raise RuntimeError(f"{found['counts']['failed'] - known['failed']} checkpoints have failed")
        if found["counts"]["completed"] >= known["completed"] + _CHECKPOINTS:
            newest = [one for one in found["history"] if one["status"] == "COMPLETED"][:_CHECKPOINTS]
            return CheckpointFigures(
                statistics.median(one["state_size"] for one in newest),
                statistics.median(one["end_to_end_duration"] for one in newest),
            )
