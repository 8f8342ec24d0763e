"""Watches and stops one job on a Flink cluster, over Flink's REST API.

Beam's own result is not used: its cancellation leaves jobs of a standalone cluster running, and it mistakes the
replacement of a job manager for the end of the job.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from models.errors import FlinkJobError, FlinkUnreachableError
from runners.flink.rest import FlinkRest

_LOGGER = logging.getLogger(__name__)

_ENDED = ("FAILED", "CANCELED", "FINISHED")
_POLL_SECONDS = 0.2

# How long to wait until the next job manager knows the jobs of one that failed; we measured 8 s on an idle machine.
_REPLACED_SECONDS = 30.0

T = TypeVar("T")


class FlinkJob:
    """A submitted job, found by its unique name.

    Args:
      rest: the cluster of the job.
      name: the name of the job.
      savepoint_folder: the folder for the savepoint that `stop` takes; None to stop without a savepoint.

    Raises:
      FlinkJobError: the job does not appear on the cluster.
    """

    def __init__(self, rest: FlinkRest, name: str, savepoint_folder: str | None = None) -> None:
        self._rest = rest
        self._name = name
        self._savepoint_folder = savepoint_folder
        self._away = False
        self._reported: set[str] = set()
        self.job_id = self._find(60.0)
        _LOGGER.info("Flink job %s: %s/#/job/%s/overview", self._name, rest.address, self.job_id)

    def ended(self) -> str | None:
        """How the job ended; None while it runs or restarts, or while the cluster does not answer."""
        try:
            state = self._rest.job_state(self.job_id)
        except (FlinkUnreachableError, FlinkJobError) as error:
            # This does not mean that the job ended: a replaced job manager knows the job again after a moment.
            self._log_away(error)
            return None
        if self._away:
            _LOGGER.info("the Flink cluster answers again; the job is %s", state)
        self._away = False
        if state in _ENDED:
            return f"{state}. {self._failure()}".strip()
        self._log_restart(state)
        return None

    def stop(self, seconds: float = 120.0) -> None:
        """Stops the job, with a savepoint if configured, and returns when it has ended.

        If the cluster does not answer, this waits up to 30 s for a job manager that is being replaced.

        Raises:
          FlinkJobError: the savepoint fails (and the job keeps running), the job does not end in time, or it had ended
            before.
          FlinkUnreachableError: the cluster does not answer; the job may keep running.
        """
        state = self._answer(lambda: self._rest.job_state(self.job_id))
        if state in _ENDED:
            raise FlinkJobError(f"Flink job {self._name} had ended by itself: {state}. {self._failure()}".strip())
        if self._savepoint_folder is None:
            self._answer(lambda: self._rest.cancel(self.job_id))
        else:
            where = self._rest.savepoint(self.job_id, self._savepoint_folder, cancel=True, seconds=seconds)
            _LOGGER.info("savepoint: %s (resume from it with --savepoint_path=%s)", where, where)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            state = self._answer(lambda: self._rest.job_state(self.job_id))
            if state in _ENDED:
                _LOGGER.info("Flink job %s has ended: %s", self._name, state)
                return
            time.sleep(_POLL_SECONDS)
        raise FlinkJobError(f"Flink job {self.job_id} did not end within {seconds:.0f} s: it is {state}")

    def _answer(self, ask: Callable[[], T]) -> T:
        """The cluster's answer, repeating the request until it succeeds; raises the last error after 30 s."""
        deadline = time.monotonic() + _REPLACED_SECONDS
        while True:
            try:
                return ask()
            except (FlinkUnreachableError, FlinkJobError) as error:
                if time.monotonic() > deadline:
                    raise
                self._log_away(error)
                time.sleep(_POLL_SECONDS)

    def _log_away(self, error: Exception) -> None:
        if not self._away:
            _LOGGER.warning("%s; waiting for it", error)
        self._away = True

    def _log_restart(self, state: str) -> None:
        """Logs a restart with its reason, and each reason only once."""
        if state == "RUNNING":
            return
        failure = self._failure()
        if failure and failure not in self._reported:
            self._reported.add(failure)
            _LOGGER.warning("the Flink job restarts: %s", failure)

    def _failure(self) -> str:
        try:
            return self._rest.last_failure(self.job_id)
        except (FlinkUnreachableError, FlinkJobError):
            return ""

    def _find(self, seconds: float) -> str:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self._rest.job_named(self._name)
            if found is not None:
                return found
            time.sleep(_POLL_SECONDS)
        raise FlinkJobError(f"no job {self._name!r} appeared at {self._rest.address} within {seconds:.0f} s")
