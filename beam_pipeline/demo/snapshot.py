"""What the demo shows at one moment: plain values, made by the scoreboard, drawn by the views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tone = Literal["plain", "good", "bad", "quiet"]
Kind = Literal["weak", "good", "broken"]


@dataclass(frozen=True)
class Event:
    """Something that happened: seconds since the stream began, and a sentence."""

    at: float
    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class VersionLine:
    """What one version did; version None stands for the records that found no model.

    Attributes:
      kind: which of the demo's models it is.
      description: as published.
      state: loading, serving, refused, replaced, retired, or empty.
      records: that it scored.
      accuracy: the share of them whose quality it got right; None when there are none.
      call_milliseconds: what a call of the model took on average; None when there was none.
    """

    version: int | None
    kind: Kind | None = None
    description: str = ""
    state: str = ""
    records: int = 0
    accuracy: float | None = None
    call_milliseconds: float | None = None


@dataclass(frozen=True)
class Refusal:
    """A version that could not be loaded: why, and how often it was tried."""

    version: int
    reason: str
    tries: int
    at: float


@dataclass(frozen=True)
class Handover:
    """How long a change of models took, from its publication to the first result that shows it.

    Attributes:
      what: "v1 published", "retired", ...
      version: that scored from then on; None: none.
    """

    what: str
    version: int | None
    seconds: float


@dataclass(frozen=True)
class Snapshot:
    """Everything, at one moment.

    Attributes:
      elapsed: seconds since the stream began.
      rates_in, rates_out: records in each of the last whole seconds, the latest at the end.
      timeline: the version that scored most in each of the last seconds; None: no model; -1: nothing came.
      scoring: the version that scored last; None: no model; -1: nothing came yet.
      recent_p50, recent_p99: latencies in milliseconds over the last seconds.
      p50, p99: the same since the stream began.
      sent, answered, waiting, duplicates: well-formed records; `waiting` have no result yet.
      errors: records that a model could not score.
      malformed_sent, malformed_descriptors_sent: what was malformed on purpose.
      dead_records, dead_descriptors: dead letters of either.
      dead_reason: of the last one.
      expecting: changes of models that no result shows yet.
    """

    elapsed: float
    rates_in: tuple[int, ...] = ()
    rates_out: tuple[int, ...] = ()
    timeline: tuple[int | None, ...] = ()
    scoring: int | None = -1
    recent_p50: float | None = None
    recent_p99: float | None = None
    p50: float | None = None
    p99: float | None = None
    sent: int = 0
    answered: int = 0
    waiting: int = 0
    duplicates: int = 0
    errors: int = 0
    malformed_sent: int = 0
    malformed_descriptors_sent: int = 0
    dead_records: int = 0
    dead_descriptors: int = 0
    dead_reason: str = ""
    versions: tuple[VersionLine, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    expecting: int = 0
    handovers: tuple[Handover, ...] = ()
    events: tuple[Event, ...] = ()

    def line(self, version: int | None) -> VersionLine:
        """What is known of a version."""
        return next((line for line in self.versions if line.version == version), VersionLine(version))

    def of_kind(self, kind: Kind) -> list[VersionLine]:
        """The versions that are this model of the demo: one for each pass."""
        return [line for line in self.versions if line.kind == kind]

    @property
    def rate_in(self) -> float:
        """Records a second, over the last three whole seconds."""
        return _mean(self.rates_in[-3:])

    @property
    def rate_out(self) -> float:
        """Results a second, over the last three whole seconds."""
        return _mean(self.rates_out[-3:])


def _mean(values: tuple[int, ...]) -> float:
    return sum(values) / len(values) if values else 0.0
