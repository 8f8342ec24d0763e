"""A process that has imported what a worker needs, and becomes a worker when one is asked for."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass

# The new worker starts meanwhile, and must not share its processor with the next import.
_PAUSE_SECONDS = 30.0

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Assignment:
    """What a standby process is told.

    Attributes:
      name: the id of the worker.
      control: the address of the task manager.
    """

    name: str
    control: str


def wait_for_assignment() -> Assignment | None:
    """Waits until the pool writes to standard input; None when the pool ends instead."""
    line = sys.stdin.readline()
    return Assignment(**json.loads(line)) if line.strip() else None


class StandbyWorker:
    """Keeps one standby process, and starts the next one a while after that one has become a worker. Thread-safe.

    Life cycle: it starts a process at once; `close` ends the process that waits, and starts no other.

    Args:
      command: the program, which prepares itself and calls `wait_for_assignment`.
      pause_seconds: how long after it has given a process away it starts the next one.
    """

    def __init__(self, command: Sequence[str], pause_seconds: float = _PAUSE_SECONDS) -> None:
        self._command = list(command)
        self._pause = pause_seconds
        self._lock = threading.Lock()
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._timer: threading.Timer | None = None
        self._start()

    def become(self, name: str, control: str) -> subprocess.Popen[bytes] | None:
        """Makes the waiting process a worker and returns it; None if there is none at the moment."""
        with self._lock:
            process, self._process = self._process, None
            if process is None:
                return None
            self._timer = threading.Timer(self._pause, self._start)
            self._timer.daemon = True
            self._timer.start()
        assert process.stdin is not None
        try:
            with process.stdin as pipe:
                pipe.write(f"{json.dumps(asdict(Assignment(name, control)))}\n".encode())
        except OSError:
            _LOGGER.warning("the standby process had ended with exit status %s", process.wait())
            return None
        return process

    def close(self) -> None:
        """Ends the process that waits. Idempotent."""
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
            if self._process is not None:
                self._process.kill()
                self._process.wait()
                self._process = None

    def _start(self) -> None:
        with self._lock:
            if not self._closed and self._process is None:
                try:
                    self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE)
                except OSError as error:
                    _LOGGER.warning("the standby process could not be started: %s", error)
