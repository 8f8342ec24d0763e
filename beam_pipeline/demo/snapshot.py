"""The state of the demo at one moment: plain values that the scoreboard creates and the views draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tone = Literal["plain", "good", "bad", "quiet"]
Kind = Literal["weak", "good", "broken"]


@dataclass(frozen=True)
class Event:
    """Something that happened: the seconds since the stream started, and a sentence."""

    at: float
    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class VersionLine:
    """The figures of one version; version None stands for the records without a model.

    Attributes:
      kind: which of the demo's models it is.
      description: the description as published.
      state: loading, serving, refused, replaced, retired, or empty.
      records: the number of records it scored.
      accuracy: the share of them whose quality it predicted correctly; None without records.
      call_milliseconds: the mean duration of a call of the model; None without calls.
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
    """A version that could not be loaded: the reason, and the number of tries."""

    version: int
    reason: str
    tries: int
    at: float


@dataclass(frozen=True)
class Handover:
    """The time that a change of models took, from its publication to the first result that shows it.

    Attributes:
      what: the change: "v1 published", "retired", ...
      version: the version that scored from then on; None for no model.
      seconds: the duration.
    """

    what: str
    version: int | None
    seconds: float


@dataclass(frozen=True)
class Snapshot:
    """The whole state at one moment.

    Attributes:
      elapsed: the seconds since the stream started.
      rates_in, rates_out: the records in each of the last whole seconds, the latest at the end.
      timeline: the version that scored most in each of the last seconds; None for no model, -1 without results.
      scoring: the version that scored last; None for no model, -1 before the first result.
      recent_p50, recent_p99: latencies over the last seconds, in milliseconds.
      p50, p99: latencies since the stream started, in milliseconds.
      sent, answered, waiting, duplicates: the numbers of well-formed records; `waiting` ones have no result yet.
      errors: the number of records that a model could not score.
      malformed_sent, malformed_descriptors_sent: the numbers of malformed messages that the demo sent.
      dead_records, dead_descriptors: the numbers of dead letters of records and of descriptors.
      dead_reason: the reason in the last dead letter.
      expecting: the number of model changes that no result shows yet.
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
        """The figures of a version; empty ones if it is unknown."""
        return next((line for line in self.versions if line.version == version), VersionLine(version))

    def of_kind(self, kind: Kind) -> list[VersionLine]:
        """The versions of one of the demo's models: one for each pass."""
        return [line for line in self.versions if line.kind == kind]

    @property
    def rate_in(self) -> float:
        """Records per second, over the last three whole seconds."""
        return _mean(self.rates_in[-3:])

    @property
    def rate_out(self) -> float:
        """Results per second, over the last three whole seconds."""
        return _mean(self.rates_out[-3:])


def _mean(values: tuple[int, ...]) -> float:
    return sum(values) / len(values) if values else 0.0
