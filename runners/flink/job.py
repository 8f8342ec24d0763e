"""One job on a Flink cluster: watched and ended over Flink's REST API.

Beam's own cancellation leaves jobs of a standalone cluster running, and takes a job manager that is replaced for the
end of the job.
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

# What a job manager that is replaced takes until the next one knows its jobs: 8 s was measured on an idle machine.
_REPLACED_SECONDS = 30.0

T = TypeVar("T")


class FlinkJob:
    """A job that was submitted under a name of its own.

    Args:
      rest: its cluster.
      name: of the job.
      savepoint_folder: where `stop` puts a savepoint; None: it takes none.
    """

    def __init__(self, rest: FlinkRest, name: str, savepoint_folder: str | None = None) -> None:
        self._rest = rest
        self._name = name
        self._savepoint_folder = savepoint_folder
        self._away = False
        self._told: set[str] = set()
        self.job_id = self._find(60.0)
        _LOGGER.info("Flink job %s: %s/#/job/%s/overview", self._name, rest.address, self.job_id)

    def ended(self) -> str | None:
        """How the job ended; None while it runs, restarts, or nobody answers for it."""
        try:
            state = self._rest.job_state(self.job_id)
        except (FlinkUnreachableError, FlinkJobError) as error:
            # A job manager that was replaced knows the job again after a moment.
            self._tell_away(error)
            return None
        if self._away:
            _LOGGER.info("the Flink cluster answers again; the job is %s", state)
        self._away = False
        if state in _ENDED:
            return f"{state}. {self._failure()}".strip()
        self._tell_restart(state)
        return None

    def stop(self, seconds: float = 120.0) -> None:
        """Ends the job, with a savepoint if that was asked for, and returns when it has ended.

        A job manager that is being replaced is waited for, 30 s at most.

        Raises:
          FlinkJobError: when the savepoint fails (the job then goes on), when the job has not ended in time, or when it
            had ended before.
          FlinkUnreachableError: when nobody answers; the job may go on.
        """
        state = self._answer(lambda: self._rest.job_state(self.job_id))
        if state in _ENDED:
            raise FlinkJobError(f"Flink job {self._name} had ended by itself: {state}. {self._failure()}".strip())
        if self._savepoint_folder is None:
            self._answer(lambda: self._rest.cancel(self.job_id))
        else:
            where = self._rest.savepoint(self.job_id, self._savepoint_folder, cancel=True, seconds=seconds)
            _LOGGER.info("savepoint: %s (go on from it with --savepoint_path=%s)", where, where)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            state = self._answer(lambda: self._rest.job_state(self.job_id))
            if state in _ENDED:
                _LOGGER.info("Flink job %s has ended: %s", self._name, state)
                return
            time.sleep(_POLL_SECONDS)
        raise FlinkJobError(f"Flink job {self.job_id} has not ended after {seconds:.0f} s: it is {state}")

    def _answer(self, ask: Callable[[], T]) -> T:
        """What the cluster says, once somebody there knows the job; raises what it says when that takes too long."""
        deadline = time.monotonic() + _REPLACED_SECONDS
        while True:
            try:
                return ask()
            except (FlinkUnreachableError, FlinkJobError) as error:
                if time.monotonic() > deadline:
                    raise
                self._tell_away(error)
                time.sleep(_POLL_SECONDS)

    def _tell_away(self, error: Exception) -> None:
        if not self._away:
            _LOGGER.warning("%s; waiting for it", error)
        self._away = True

    def _tell_restart(self, state: str) -> None:
        """A restart is told with its reason, and the same reason once."""
        if state == "RUNNING":
            return
        failure = self._failure()
        if failure and failure not in self._told:
            self._told.add(failure)
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
