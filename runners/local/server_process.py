"""A server on this machine: a child process with a log, which does not outlive this process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from runners.local.process_guard import ProcessGuard


class ServerProcess:
    """A running server, which ends together with the processes it starts.

    Life cycle: it runs from construction until `stop` or `kill`, or until it ends on its own. It never outlives this
    process. Not thread-safe.

    Args:
      command: the program and its arguments.
      output: the file to which its output is appended.
      environment: environment variables in addition to those of this process.
    """

    def __init__(self, command: Sequence[str], output: Path, environment: Mapping[str, str] | None = None) -> None:
        self.output = output
        with output.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=output.parent,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Keeps Ctrl-C from the server, and makes it the leader of a group with the processes that it starts.
                start_new_session=True,
            )
        self._guard = ProcessGuard(self._process.pid, whole_group=True)

    @property
    def process_id(self) -> int:
        """The process id of the server, even after it has ended."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server is still running."""
        return self._process.poll() is None

    def wait(self) -> int:
        """Waits until the server ends on its own, and returns its exit code, which is negative for a signal."""
        return self._process.wait()

    def ask_to_stop(self) -> None:
        """Sends SIGTERM and returns at once, unlike `stop`."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)

    def stop(self, seconds: float) -> None:
        """Stops the server with SIGTERM, waits up to `seconds`, and then kills whatever is left of its group."""
        self.ask_to_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """Kills the server and the processes it started with SIGKILL, and waits until it is gone. Idempotent."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._guard.close()

    def children(self) -> list[int]:
        """The ids of the running processes that the server itself started."""
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True)
        rows = (line.split() for line in listed.stdout.splitlines())
        mine = str(self.process_id)
        return [int(child) for child, parent, state in rows if parent == mine and not state.startswith("Z")]

    def log_end(self) -> str:
        """The end of the server's output."""
        return end_of_log(self.output)


def end_of_log(path: Path) -> str:
    """The last 2,000 characters of a log, or "(no log)" if it does not exist."""
    return path.read_text(errors="replace")[-2000:] if path.exists() else "(no log)"
