"""The listener that logs payloads."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence

from models.observing.answered import AnsweredBatch
from models.observing.instruments import PAYLOADS
from models.observing.observer import Meter
from models.observing.payloads.destination import Destination
from models.observing.payloads.payload import Chosen, chosen_indices, payloads_of
from models.observing.sampling import Sampling

_LOGGER = logging.getLogger(__name__)

QUEUE_BATCHES = 100
"""The maximum number of batches with sampled records that wait to be logged."""

_TICK_SECONDS = 0.5
_CLOSE_SECONDS = 3.0
_LOG_SECONDS = 10.0

Sampled = tuple[AnsweredBatch, Chosen]


class PayloadLog:
    """Samples answers, and logs them on a thread of its own; see `models.observing.observation.AnswerListener`.

    Records that would exceed its queue are dropped, counted and logged.

    Args:
      sampling: which records to log.
      destinations: where to.
      meter: counts what is dropped.
      limit: the maximum number of batches with sampled records that wait.
    """

    def __init__(
        self, sampling: Sampling, destinations: Sequence[Destination], meter: Meter, limit: int = QUEUE_BATCHES
    ) -> None:
        self._sampling = sampling
        self._destinations = tuple(destinations)
        self._meter = meter
        self._waiting: queue.Queue[Sampled] = queue.Queue(limit)
        self._closing = threading.Event()
        self._warned_at = -_LOG_SECONDS
        self._thread = threading.Thread(target=self._run, name="payload-log", daemon=True)
        self._thread.start()

    def answered(self, answered: AnsweredBatch) -> None:
        """Notes the sampled records of a batch, or drops them if too many batches are waiting; returns at once."""
        span = answered.batch.span
        chosen = self._sampling.chosen(span.topic, span.partition, answered.batch.offsets)
        if not chosen.any() or self._closing.is_set():
            return
        try:
            self._waiting.put_nowait((answered, chosen))
        except queue.Full:
            self._drop((answered, chosen))

    def close(self) -> None:
        """Logs what is waiting, for up to three seconds, and closes the destinations."""
        self._closing.set()
        self._thread.join(3 * _CLOSE_SECONDS)

    def _drop(self, sampled: Sampled) -> None:
        answered, chosen = sampled
        count = sum(len(chosen_indices(answered, part, chosen)) for part in answered.scored)
        self._meter.measure(PAYLOADS, count, ("dropped",))
        now = time.monotonic()
        if now - self._warned_at >= _LOG_SECONDS:
            self._warned_at = now
            _LOGGER.warning("the payload log cannot keep up and drops records; log a smaller share of them")

    def _run(self) -> None:
        closed_at: float | None = None
        while closed_at is None or time.monotonic() < closed_at + _CLOSE_SECONDS:
            if closed_at is None and self._closing.is_set():
                closed_at = time.monotonic()
            try:
                sampled = self._waiting.get(timeout=_TICK_SECONDS if closed_at is None else 0)
            except queue.Empty:
                if closed_at is not None:
                    break
            else:
                self._write(sampled)
            for one in self._destinations:
                one.tick()
        while not self._waiting.empty():
            self._drop(self._waiting.get())
        for one in self._destinations:
            one.close()

    def _write(self, sampled: Sampled) -> None:
        try:
            payloads = list(payloads_of(*sampled))
        except Exception:  # no model and no record may end the log
            _LOGGER.exception("sampled records cannot be logged")
            self._drop(sampled)
            return
        for one in self._destinations:
            one.write(payloads)
