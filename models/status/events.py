"""Status events, and statistics of serving models."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

import orjson

from models.errors import StatusEventError
from models.status.arm_tallies import ArmStatistics
from models.status.durations import BUCKETS, Durations, bucket_of, percentile
from models.status.json_checks import dictionary_of, list_of, number, object_of, one_of, optional, text, whole_number
from models.text import clean_text, encode_text, limit_text

EventKind = Literal[
    "loading",
    "serving",
    "failed",
    "released",
    "unloaded",
    "retired",
    "statistics",
    "candidate",
    "gap",
    "stopped",
    "worker",
]


@dataclass(frozen=True)
class ArmShare:
    """An arm that a model answers in.

    Attributes:
      data_type: the data type of its records.
      arm: the name of the arm; empty without a route.
      role: serve, candidate or shadow.
      share: the share of the records that it gets, 0 to 1: of those that meet the condition, if there is one.
      condition: the condition of its segment; None if the segment is for every record.
    """

    data_type: str
    arm: str
    role: str
    share: float
    condition: str | None = None


@dataclass(frozen=True)
class WorkerState:
    """What a worker has applied of the models topic.

    Attributes:
      position: the offset before which it has applied everything.
      topic_id: the id of the models topic, which another topic of the same name does not have; empty if unknown.
      waiting: the models that it should serve but has not loaded yet, as NAME/VERSION.
      memory: the resident memory of its process in bytes.
    """

    position: int
    topic_id: str = ""
    waiting: tuple[str, ...] = ()
    memory: int = 0


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
      average, minimum, maximum, p50, p99: the duration of a call in milliseconds; 0 before the first call.
      durations: the durations of calls as a histogram (`models.status.durations`).
      digest: SHA-256 of the published model, as 64 hexadecimal digits; None for a model on a server.
      memory: the bytes of memory that it takes; 0 if they are unknown, and while it is unloaded.
      arms: the arms that it answers in at the moment.
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
    p50: float = 0.0
    p99: float = 0.0
    durations: Durations = field(default_factory=dict)
    digest: str | None = None
    memory: int = 0
    arms: tuple[ArmShare, ...] = ()

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
        follows the models topic, for the reason in `error`; its bundles will fail soon), worker (what it has applied
        of the models topic; every ten seconds, and when that changes).
      at: the time in milliseconds since 1970-01-01 UTC.
      worker: the process that reports the event.
      model_name, model_version, data_type: the model that the event is about; empty and 0 for gap and stopped.
      error: the reason for a failure.
      statistics: the model's statistics, for serving, statistics and released.
      deployment: the consumer group of the worker's deployment; empty in events of earlier releases.
      arm: the candidate's statistics, for candidate.
      state: what the worker has applied of the models topic, for worker.
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
    state: WorkerState | None = None

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
        """The key of the message, for which a compacted topic keeps the last event.

        It consists of the deployment, the worker, and the model and version (or the arm of a candidate), separated by
        slashes; without the last two for events about no model. The events of a kind that says nothing about the state
        of a worker (gap) have the key "gap/" and theirs.
        """
        if self.kind == "gap":
            about = ["gap", self.deployment, self.worker]
        elif self.arm is not None:
            about = [self.deployment, self.worker, self.arm.data_type, "candidate", self.arm.arm]
        elif self.model_name:
            about = [self.deployment, self.worker, self.model_name, str(self.model_version)]
        else:
            about = [self.deployment, self.worker]
        return encode_text("/".join(about))

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
        """The event in a message.

        Raises:
          StatusEventError: the message is not a status event; the error names the field.
        """
        try:
            return _EVENT(orjson.loads(message))
        except ValueError as error:  # of JSON or of a field
            raise StatusEventError(f"not a status event: {clean_text(str(error).removeprefix('.'))}") from error


# Readers add these up, compute with them and show them as dates, which fails outside of such limits.
_TIME = whole_number(32_503_680_000_000)  # the year 3000
_COUNT = whole_number(2**53)
_LONG = whole_number(2**63 - 1)
_MILLISECONDS = number(1e15)

_ARM = object_of(
    ArmStatistics,
    {
        "data_type": text,
        "route": _LONG,
        "arm": text,
        **dict.fromkeys(("records", "errors", "compared", "agreeing", "timed", "slow"), _COUNT),
        **dict.fromkeys(("labels", "correct", "numbers"), _COUNT),
        **dict.fromkeys(("milliseconds", "serving_milliseconds", "deviation", "squared_deviation"), number()),
    },
)
_PARTS = {"errors": "records", "agreeing": "compared", "slow": "timed", "correct": "labels", "numbers": "labels"}


def _arm(value: Any) -> ArmStatistics:
    """The statistics of a candidate, with parts that are not larger than the whole: verdicts compute their shares."""
    arm = _ARM(value)
    for part, whole in _PARTS.items():
        if getattr(arm, part) > getattr(arm, whole):
            raise ValueError(f"there are more {part} than {whole}")
    return arm


_SHARE = object_of(
    ArmShare, {"data_type": text, "arm": text, "role": text, "share": number(1.0), "condition": optional(text)}
)
_STATISTICS = object_of(
    ModelStatistics,
    {
        "name": text,
        "version": _LONG,
        "description": optional(text),
        "since": _TIME,
        **dict.fromkeys(("usage", "errors", "calls", "memory"), _COUNT),
        **dict.fromkeys(("average", "minimum", "maximum", "p50", "p99"), _MILLISECONDS),
        "durations": dictionary_of(one_of(BUCKETS), _COUNT),
        "digest": optional(text),
        "arms": list_of(_SHARE),
    },
)
_STATE = object_of(WorkerState, {"position": _LONG, "topic_id": text, "waiting": list_of(text), "memory": _COUNT})
_EVENT = object_of(
    StatusEvent,
    {
        "kind": one_of(get_args(EventKind)),
        "at": _TIME,
        "worker": text,
        "deployment": text,
        "model_name": text,
        "model_version": _LONG,
        "data_type": text,
        "error": optional(text),
        "statistics": optional(_STATISTICS),
        "arm": optional(_arm),
        "state": optional(_STATE),
    },
)


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
    durations: Counter[str] = field(default_factory=Counter)

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
        self.durations[bucket_of(milliseconds)] += 1
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
            percentile(self.durations, 50),
            percentile(self.durations, 99),
            dict(self.durations),
        )
