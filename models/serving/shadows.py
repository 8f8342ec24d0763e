"""Scores the shadows of routes, off the path of the live answers.

Each shadow has a thread and a queue of its own, so that one that is slow or hangs delays neither the live answers nor
other shadows. Records wait for up to half a second, so that a shadow makes a few large calls instead of many
small ones, which would compete with the live path for the processor and for the interpreter's lock.

A shadow that cannot keep up skips records: those that would exceed its queue are dropped, logged and counted. Results
of shadows are sent without waiting for the broker. They are therefore best effort: a worker that is killed loses its
unsent results, and a repeated bundle sends its shadow results again.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from models.columns.scored import ScoredRecords
from models.guarding.awaited_labels import AwaitedLabels
from models.model_topic.published import Identity
from models.observing.answered import AnsweredBatch, StageTimes
from models.records.outgoing import OutgoingMessage
from models.serving.assembly import ScoringSettings, assemble
from models.serving.pool import PooledModel
from models.serving.registry import ModelRegistry
from models.serving.scoring import Candidate, ShadowWork, score_arm
from models.serving.shadow_batches import ShadowBatch, shadow_batches
from models.status.arm_tallies import ArmTallies

_LOGGER = logging.getLogger(__name__)

QUEUE_RECORDS = 20_000
"""The maximum number of records that wait for one shadow."""

_GATHER_SECONDS, _GATHER_RECORDS = 0.5, 2_000
_LOG_SECONDS = 10.0
_CLOSE_SECONDS = 2.0
_IDLE_SECONDS = 30.0

Send = Callable[[OutgoingMessage], None]


@dataclass
class _Lane:
    """The queue of one shadow, and its thread."""

    work: queue.SimpleQueue[ShadowWork | None] = field(default_factory=queue.SimpleQueue)
    waiting: int = 0
    skipped: int = 0
    logged_at: float = -_LOG_SECONDS


class ShadowScorer:
    """Scores shadows on threads of their own. Thread-safe.

    It compares candidates with the serving arm in the same way.

    Attributes:
      tallies: the statistics of candidates.
      labels: joins their answers with labels.

    Args:
      registry: keeps the models open while shadows use them.
      settings: where results go; without a shadow topic, shadows are scored for their statistics only.
      send: sends a message without waiting; it may raise BufferError if its queue is full.
      limit: the maximum number of records that wait for one shadow.
    """

    def __init__(
        self, registry: ModelRegistry, settings: ScoringSettings, send: Send, limit: int = QUEUE_RECORDS
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._send = send
        self._limit = limit
        self._lock = threading.Lock()
        self._lanes: dict[tuple[tuple[Identity, ...], str], tuple[_Lane, threading.Thread]] = {}
        self._closed = False
        self._skipped_before = 0
        self.tallies = ArmTallies()
        self.labels = AwaitedLabels(self.tallies.labelled)

    def take(self, work: ShadowWork) -> None:
        """Takes records to score later, or skips them if too many are waiting already; returns at once."""
        if work.candidate is not None:
            self.note(work.candidate)
        with self._lock:
            if self._closed:
                return
            lane = self._lane(work)
            if lane.waiting and lane.waiting + len(work.rows) > self._limit:
                self._skip(lane, work, len(work.rows))
                return
            lane.waiting += len(work.rows)
        for pooled in work.leased.pooled_models():
            self._registry.hold(pooled)
        lane.work.put(work)

    def note(self, candidate: Candidate) -> None:
        """Counts the answers of a candidate, and remembers them until their labels arrive."""
        self.tallies.answered(candidate.key, candidate.answers)
        if candidate.coordinates is not None:
            for part in candidate.answers:
                self.labels.remember(candidate.key, part, candidate.coordinates(part.rows), candidate.limits.tolerance)

    def skipped(self) -> int:
        """The number of records that shadows have skipped because they could not keep up."""
        with self._lock:
            return self._skipped_before + sum(lane.skipped for lane, _ in self._lanes.values())

    def close(self) -> None:
        """Stops the threads, and waits up to two seconds for their current work."""
        with self._lock:
            self._closed = True
            lanes = list(self._lanes.values())
        for lane, _ in lanes:
            lane.work.put(None)
        deadline = time.monotonic() + _CLOSE_SECONDS
        for _, thread in lanes:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _lane(self, work: ShadowWork) -> _Lane:
        key = tuple(one.version.identity for one in work.leased.pooled_models()), work.route.arm
        if key not in self._lanes:
            lane = _Lane()
            thread = threading.Thread(target=self._run, args=(lane,), name=f"shadow-{work.route.arm}", daemon=True)
            self._lanes[key] = lane, thread
            thread.start()
        return self._lanes[key][0]

    def _skip(self, lane: _Lane, work: ShadowWork, records: int) -> None:
        lane.skipped += records
        now = time.monotonic()
        if now - lane.logged_at >= _LOG_SECONDS:
            lane.logged_at = now
            _LOGGER.warning("shadow %s cannot keep up; it has skipped %d records so far", _label(work), lane.skipped)

    def _run(self, lane: _Lane) -> None:
        while True:
            try:
                work = lane.work.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                if self._end(lane):
                    return
                continue
            if work is None:
                return
            for batch in shadow_batches(_gathered(lane, work)):
                self._run_batch(lane, batch)

    def _run_batch(self, lane: _Lane, batch: ShadowBatch) -> None:
        try:
            if not self._closed:
                self._score(lane, batch)
        except Exception:  # no failure of a shadow may affect the live answers
            _LOGGER.exception("shadow %s failed unexpectedly", _label(batch.works[0]))
        finally:
            for work in batch.works:
                self._release(lane, work.leased.pooled_models(), len(work.rows))

    def _end(self, lane: _Lane) -> bool:
        """Removes a lane that has been idle for a while; returns False if it has work after all."""
        with self._lock:
            if lane.waiting:
                return False
            self._lanes = {key: one for key, one in self._lanes.items() if one[0] is not lane}
            self._skipped_before += lane.skipped
            return True

    def _release(self, lane: _Lane, models: Sequence[PooledModel], records: int) -> None:
        with self._lock:
            lane.waiting -= records
        self._registry.give_back(models)

    def _score(self, lane: _Lane, batch: ShadowBatch) -> None:
        first = batch.works[0]
        codec = self._settings.codec(first.batch.span.topic)
        columns = batch.columns()
        rows = np.arange(columns.num_rows)
        began = time.time_ns()
        scored = list(score_arm(first.leased, self._registry, codec, columns, rows, first.route, batch.coordinates))
        times = StageTimes(began, began, now := time.time_ns(), now)
        for work, answers in batch.parted(scored):
            if work.candidate is not None:
                candidate = work.candidate
                self.tallies.compared(candidate.key, candidate.answers, answers, candidate.limits)
                continue
            named = [replace(one, data_type=work.data_type) for one in answers]
            self._registry.observer.answered(AnsweredBatch(work.batch, work.decoded, named, {}, times, live=False))
            if self._settings.shadow_topic is not None:
                self._report(lane, work, answers, self._settings.shadow_topic)

    def _report(self, lane: _Lane, work: ShadowWork, answers: Sequence[ScoredRecords], topic: str) -> None:
        """Sends the results of a shadow."""
        # Malformed records already have their dead letters.
        batch = assemble(work.batch, replace(work.decoded, errors={}), answers, self._settings.for_shadows())
        for run in batch.outgoing.runs:
            if run.topic == topic:
                for place in range(len(run)):
                    try:
                        self._send(run.message(place))
                    except BufferError:
                        with self._lock:
                            self._skip(lane, work, len(run) - place)
                        return


def _gathered(lane: _Lane, first: ShadowWork) -> list[ShadowWork]:
    """The first work, and what arrives within half a second after it, as long as the records are few."""
    works, records = [first], len(first.rows)
    deadline = time.monotonic() + _GATHER_SECONDS
    while records < _GATHER_RECORDS:
        try:
            work = lane.work.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if work is None:
            lane.work.put(None)  # the thread ends when it next asks for work
            break
        works.append(work)
        records += len(work.rows)
    return works


def _label(work: ShadowWork) -> str:
    arm = work.leased.arm
    return arm.label if work.leased.pooled is None else work.leased.pooled.version.label
