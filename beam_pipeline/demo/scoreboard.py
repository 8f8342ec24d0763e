"""Counts what is sent and what comes back, for the views and for the scenario, which waits for its effects."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from beam_pipeline.demo.latencies import Latencies
from beam_pipeline.demo.ledger import Ledger
from beam_pipeline.demo.snapshot import Event, Handover, Kind, Refusal, Snapshot, Tone, VersionLine
from beam_pipeline.demo.wine import parse_lot_id
from beam_pipeline.publishing.wine_data import Wine
from models.results.dead_letter import DeadLetter
from models.status.events import StatusEvent

_SECONDS_KEPT = 60
_SECONDS_OF_LATENCY = 5
_EVENTS_KEPT = 60

_STATES = {
    "loading": "loading",
    "serving": "serving",
    "failed": "refused",
    "released": "replaced",
    "retired": "retired",
}


@dataclass
class _Second:
    """One second of the stream."""

    sent: int = 0
    latencies: Latencies = field(default_factory=Latencies)
    versions: Counter[int | None] = field(default_factory=Counter)

    @property
    def answered(self) -> int:
        return self.versions.total()

    @property
    def main_version(self) -> int | None:
        return self.versions.most_common(1)[0][0] if self.versions else -1


@dataclass
class _Tally:
    """The counts of one version. A call that scored n records appears in n results, so each adds 1/n calls."""

    kind: Kind | None = None
    description: str = ""
    state: str = ""
    records: int = 0
    correct: int = 0
    calls: float = 0.0
    microseconds: float = 0.0


@dataclass(frozen=True)
class _Expected:
    what: str
    version: int | None
    since: float


class Scoreboard:
    """All counts of one run. Thread-safe.

    Args:
      wines: the held-out wines in the stream, needed for their labels.
      clock: returns the seconds since 1970-01-01 UTC.
    """

    def __init__(self, wines: Sequence[Wine], clock: Callable[[], float] = time.time) -> None:
        self._wines = wines
        self._clock = clock
        self._changed = threading.Condition()
        self._began = clock()
        self._ledger = Ledger()
        self._seconds: dict[int, _Second] = {}
        self._latencies = Latencies()
        self._tallies: dict[int | None, _Tally] = {}
        self._scoring: int | None = -1
        self._scoring_since = 0.0
        self._refusals: dict[int, Refusal] = {}
        self._expected: list[_Expected] = []
        self._handovers: deque[Handover] = deque(maxlen=_EVENTS_KEPT)
        self._events: deque[Event] = deque(maxlen=_EVENTS_KEPT)
        self._errors = 0
        self._malformed = {"records": 0, "descriptors": 0}
        self._dead = {"records": 0, "descriptors": 0}
        self._dead_reason = ""

    # Input from the stream and the scenario.

    def begin(self) -> None:
        """Marks the start of the stream: times count from now, and earlier latencies are dropped."""
        with self._changed:
            self._began = self._clock()
            self._seconds.clear()
            self._latencies = Latencies()

    def send(self) -> int:
        """Counts a record and returns its sequence number; to be called before the record is sent."""
        with self._changed:
            now = self._clock()
            self._second(now).sent += 1
            return self._ledger.send(now)

    def send_malformed(self, descriptor: bool = False) -> None:
        """Counts a malformed message; to be called before it is sent."""
        with self._changed:
            self._malformed["descriptors" if descriptor else "records"] += 1

    def name_version(self, version: int, kind: Kind, description: str) -> None:
        """Records which of the demo's models a version is."""
        with self._changed:
            tally = self._tally(version)
            tally.kind, tally.description = kind, description

    def expect(self, what: str, version: int | None, since: float) -> None:
        """Expects results of `version` (None for no model), because of a publication at `since`."""
        with self._changed:
            if self._scoring == version and self._scoring_since >= since:
                self._handovers.append(Handover(what, version, self._scoring_since - since))
            else:
                self._expected.append(_Expected(what, version, since))

    def add_event(self, text: str, tone: Tone = "plain") -> None:
        """Adds an event."""
        with self._changed:
            self._events.append(Event(self._clock() - self._began, text, tone))
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[Snapshot], bool], timeout: float) -> bool:
        """Waits up to `timeout` seconds until the condition holds, and returns whether it does."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self._snapshot()), timeout)

    # Input from the pipeline.

    def see_results(self, results: Sequence[dict[str, Any]]) -> None:
        """Counts results, in the order of their arrival."""
        with self._changed:
            now = self._clock()
            second = self._second(now)
            for result in results:
                self._see_result(result, now, second)
            self._changed.notify_all()

    def _see_result(self, result: dict[str, Any], now: float, second: _Second) -> None:
        metadata = result["modelResultMetadata"]
        sequence, place = parse_lot_id(result["inputRecord"]["lot_id"])
        latency = self._ledger.answer(sequence, now)
        if latency is None:
            return
        second.latencies.add(latency * 1000)
        self._latencies.add(latency * 1000)
        version = metadata["modelVersion"]
        second.versions[version] += 1
        if version != self._scoring:
            self._scoring, self._scoring_since = version, now
        self._hand_over(version, now)
        tally = self._tally(version)
        tally.records += 1
        tally.calls += 1 / metadata["batchSize"]
        tally.microseconds += metadata["duration"] / metadata["batchSize"]
        if version is not None and metadata["errors"] is not None:
            self._errors += 1
        elif version is not None:
            scores = result["outputs"]["outputs"]["values"]
            tally.correct += scores.index(max(scores)) == self._wines[place].quality

    def _hand_over(self, version: int | None, now: float) -> None:
        for expected in [one for one in self._expected if one.version == version]:
            self._expected.remove(expected)
            self._handovers.append(Handover(expected.what, version, now - expected.since))

    def see_status(self, event: StatusEvent) -> None:
        """Updates the state of a model from a status event."""
        with self._changed:
            version = event.model_version
            if event.kind in _STATES:
                self._set_state(self._tally(version), _STATES[event.kind])
            if event.kind == "failed":
                known = self._refusals.get(version)
                at = known.at if known else self._clock() - self._began
                tries = known.tries + 1 if known else 1
                self._refusals[version] = Refusal(version, event.error or "", tries, at)
            self._changed.notify_all()

    @staticmethod
    def _set_state(tally: _Tally, state: str) -> None:
        """Sets the state, except that a refused model stays refused when retried, and a retired one when released."""
        if (tally.state, state) not in (("refused", "loading"), ("retired", "replaced")):
            tally.state = state

    def see_dead_letter(self, letter: DeadLetter, of_records: bool) -> None:
        """Counts a dead letter of a record or of a descriptor."""
        with self._changed:
            self._dead["records" if of_records else "descriptors"] += 1
            self._dead_reason = letter.reason
            self._changed.notify_all()

    # Output.

    def snapshot(self) -> Snapshot:
        """The current state of everything."""
        with self._changed:
            return self._snapshot()

    def _snapshot(self) -> Snapshot:
        now = self._clock()
        this = int(now - self._began)
        whole = [self._seconds.get(second, _Second()) for second in range(max(0, this - _SECONDS_KEPT), this)]
        current = [*whole, self._seconds.get(this, _Second())]
        recent = Latencies(second.latencies for second in current[-_SECONDS_OF_LATENCY:])
        ledger = self._ledger
        return Snapshot(
            elapsed=now - self._began,
            rates_in=tuple(second.sent for second in whole),
            rates_out=tuple(second.answered for second in whole),
            timeline=tuple(second.main_version for second in current),
            scoring=self._scoring,
            recent_p50=recent.percentile(0.5),
            recent_p99=recent.percentile(0.99),
            p50=self._latencies.percentile(0.5),
            p99=self._latencies.percentile(0.99),
            sent=ledger.sent,
            answered=ledger.answered,
            waiting=ledger.waiting,
            duplicates=ledger.duplicates,
            errors=self._errors,
            malformed_sent=self._malformed["records"],
            malformed_descriptors_sent=self._malformed["descriptors"],
            dead_records=self._dead["records"],
            dead_descriptors=self._dead["descriptors"],
            dead_reason=self._dead_reason,
            versions=self._version_lines(),
            refusals=tuple(self._refusals.values()),
            expecting=len(self._expected),
            handovers=tuple(self._handovers),
            events=tuple(self._events),
        )

    def _version_lines(self) -> tuple[VersionLine, ...]:
        known = sorted(self._tallies, key=lambda version: version or 0)
        return tuple(_version_line(version, self._tallies[version]) for version in known)

    def _tally(self, version: int | None) -> _Tally:
        return self._tallies.setdefault(version, _Tally())

    def _second(self, now: float) -> _Second:
        number = int(now - self._began)
        second = self._seconds.get(number)
        if second is None:
            second = self._seconds[number] = _Second()
            self._seconds.pop(number - 2 * _SECONDS_KEPT, None)
        return second


def _version_line(version: int | None, tally: _Tally) -> VersionLine:
    line = VersionLine(version, tally.kind, tally.description, tally.state, tally.records)
    if version is None or not tally.records:
        return line
    return replace(
        line, accuracy=tally.correct / tally.records, call_milliseconds=tally.microseconds / tally.calls / 1000
    )
