"""Reports the run of a worker process: its start, each change of the versions of models, and its end."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Protocol
from uuid import uuid4

from openlineage.client.event_v2 import RunEvent, RunState

from models.observing.instruments import MODEL_SHARE
from models.observing.lineage.events import ModelInUse, run_event
from models.observing.lineage.job import LineageJob
from models.observing.totals import Totals
from models.text import error_text

_LOGGER = logging.getLogger(__name__)

MOST_WAITING = 100
"""The maximum number of events that wait for an endpoint that is away; the oldest ones behind START are dropped."""

_LOOK_SECONDS = 1.0
_LONGEST_PAUSE = 60.0
_CLOSE_SECONDS = 4.0


class Endpoint(Protocol):
    """What events are sent to."""

    def send(self, event: RunEvent) -> None:
        """Sends an event, for a few seconds at most; raises any exception if it is not accepted."""

    def close(self) -> None:
        """Closes the connection."""


class LineageReporter:
    """Reports on a thread of its own, which looks once a second for the versions in use.

    Nothing waits for the endpoint. While it is away, events wait for it, and the pauses between attempts grow to a
    minute.

    Args:
      job: the deployment.
      totals: the sums of the process, among which are the shares of the models in use.
      endpoint: where to; closed with the reporter.
    """

    def __init__(self, job: LineageJob, totals: Totals, endpoint: Endpoint) -> None:
        self._job = job
        self._totals = totals
        self._endpoint = endpoint
        self._run_id = str(uuid4())
        self._models = self._in_use()
        self._waiting: deque[RunEvent] = deque()
        self._send_at = self._pause = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lineage", daemon=True)
        self._add(RunState.START)
        self._thread.start()

    def close(self) -> None:
        """Reports the end of the run, if the endpoint accepts it within a few seconds."""
        self._closing.set()
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._closing.wait(0 if self._send() else _LOOK_SECONDS):
            self._look()
        self._look()
        self._add(RunState.COMPLETE)
        self._send_at = 0.0
        while self._send():
            pass
        if self._waiting:
            _LOGGER.warning("%d events were not sent to --openlineage-url", len(self._waiting))
        self._endpoint.close()

    def _look(self) -> None:
        found = self._in_use()
        if found != self._models:
            self._models = found
            self._add(RunState.RUNNING)

    def _in_use(self) -> list[ModelInUse]:
        shares = {
            labels: share
            for (instrument, labels), share in self._totals.snapshot().numbers.items()
            if instrument is MODEL_SHARE
        }
        return [
            ModelInUse(model, version, data_type, arm, role, share)
            for (data_type, model, version, arm, role), share in sorted(shares.items())
        ]

    def _add(self, state: RunState) -> None:
        self._waiting.append(run_event(self._job, self._run_id, state, self._models, time.time()))
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[1]

    def _send(self) -> bool:
        """Sends the oldest event, unless an attempt failed a moment ago; returns whether it was accepted."""
        if not self._waiting or time.monotonic() < self._send_at:
            return False
        try:
            self._endpoint.send(self._waiting[0])
        except Exception as error:  # the client passes on any exception of what it calls
            if not self._pause:
                _LOGGER.warning("--openlineage-url does not accept events; trying again: %s", error_text(error))
            self._pause = min(max(2 * self._pause, _LOOK_SECONDS), _LONGEST_PAUSE)
            self._send_at = time.monotonic() + self._pause
            return False
        self._waiting.popleft()
        self._pause = 0.0
        return True
