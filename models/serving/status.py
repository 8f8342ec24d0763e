"""Status events, and statistics of serving models."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from models.serving.arm_tallies import ArmStatistics
from models.text import clean_text, encode_text, limit_text

EventKind = Literal[
    "loading", "serving", "failed", "released", "unloaded", "retired", "statistics", "candidate", "gap", "stopped"
]


@dataclass(frozen=True)
class ModelStatistics:
    """The statistics of a model in one worker.

    Attributes:
      name, version: the model's name and version.
      description: the published description.
      since: the time at which it began to serve, in milliseconds since 1970-01-01 UTC.
      usage: the number of records scored.
      errors: the number of records that it could not score.
      calls: the number of calls of the model.
      average, minimum, maximum: the duration of a call in milliseconds; 0 before the first call.
    """

    name: str
    version: int
    description: str | None
    since: int
    usage: int = 0
    errors: int = 0
    calls: int = 0
    average: float = 0.0
    minimum: float = 0.0
    maximum: float = 0.0

    def limited(self) -> ModelStatistics:
        """The same statistics, with a description short enough for an event."""
        return self if self.description is None else replace(self, description=limit_text(self.description))


@dataclass(frozen=True)
class StatusEvent:
    """One event of one worker; a message of the status topic, as JSON.

    Attributes:
      kind: loading, serving, failed (with `error`; the load is tried again), released (its last batch has ended),
        unloaded (to save memory; it is loaded again on demand), retired, statistics (of a serving model), candidate
        (the statistics of a candidate with guardrails), gap (records were missing), stopped (the worker no longer
        follows the models topic, for the reason in `error`; its bundles will fail soon).
      at: the time in milliseconds since 1970-01-01 UTC.
      worker: the process that reports the event.
      model_name, model_version, data_type: the model that the event is about; empty and 0 for gap and stopped.
      error: the reason for a failure.
      statistics: the model's statistics, for serving, statistics and released.
      deployment: the consumer group of the worker's deployment; empty in events of earlier releases.
      arm: the candidate's statistics, for candidate.
    """

    kind: EventKind
    at: int
    worker: str
    model_name: str = ""
    model_version: int = 0
    data_type: str = ""
    error: str | None = None
    statistics: ModelStatistics | None = field(default=None)
    deployment: str = ""
    arm: ArmStatistics | None = None

    @classmethod
    def of_gap(cls, text: str, worker: str, deployment: str = "") -> StatusEvent:
        """The event for a gap in the records."""
        return cls("gap", time.time_ns() // 1_000_000, worker, error=text, deployment=deployment)

    @classmethod
    def of_candidate(cls, arm: ArmStatistics, worker: str, deployment: str = "") -> StatusEvent:
        """The event with the statistics of a candidate."""
        now = time.time_ns() // 1_000_000
        return cls("candidate", now, worker, data_type=arm.data_type, deployment=deployment, arm=arm)

    @property
    def key(self) -> bytes:
        """The key of the message: the model's name, or empty bytes."""
        return encode_text(self.model_name)

    def to_json(self) -> bytes:
        """The event as a JSON object of these fields.

        It never raises, whatever the texts contain: the error becomes one line, and long texts are cut (`models.text`).
        """
        error = None if self.error is None else clean_text(self.error)
        event = replace(self, error=error, statistics=self.statistics and self.statistics.limited())
        value = {name: limit_text(one) if isinstance(one, str) else one for name, one in asdict(event).items()}
        return encode_text(json.dumps(value, ensure_ascii=False))

    @classmethod
    def from_json(cls, message: bytes) -> StatusEvent:
        """The event in a message; raises ValueError if the message is not a status event."""
        try:
            value: dict[str, Any] = json.loads(message)
            statistics, arm = value.pop("statistics", None), value.pop("arm", None)
            return cls(
                **value,
                statistics=ModelStatistics(**statistics) if statistics else None,
                arm=ArmStatistics(**arm) if arm else None,
            )
        except (TypeError, AttributeError) as error:
            raise ValueError(f"not a status event: {error}") from error


@dataclass
class CallCounter:
    """Counts the calls of one model. Not thread-safe."""

    since: int
    usage: int = 0
    errors: int = 0
    calls: int = 0
    total: float = 0.0
    minimum: float = 0.0
    maximum: float = 0.0

    def add(self, records: int, errors: int, milliseconds: float) -> None:
        """Adds one call with `records` records, of which `errors` could not be scored.

        >>> counter = CallCounter(since=0)
        >>> counter.add(records=500, errors=2, milliseconds=4.0)
        >>> counter.add(records=100, errors=0, milliseconds=2.0)
        >>> counter.statistics("wine", 1, None).average
        3.0
        """
        self.minimum = milliseconds if not self.calls else min(self.minimum, milliseconds)
        self.maximum = max(self.maximum, milliseconds)
        self.calls += 1
        self.total += milliseconds
        self.usage += records
        self.errors += errors

    def statistics(self, name: str, version: int, description: str | None) -> ModelStatistics:
        """The statistics so far, for the model with this name, version and description."""
        average = self.total / self.calls if self.calls else 0.0
        return ModelStatistics(
            name,
            version,
            description,
            self.since,
            self.usage,
            self.errors,
            self.calls,
            average,
            self.minimum,
            self.maximum,
        )
