"""One server that we start on this machine: a process with a log, which does not outlive this one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from runners.local.process_guard import ProcessGuard


class ServerProcess:
    """A running server, and whatever it starts: they end together.

    Life cycle: it runs from construction until `stop` or `kill`, or until it ends by itself. It ends with this process
    in any case. Not thread-safe.

    Args:
      command: the program and its arguments.
      output: the file to which what it prints is appended.
      environment: added to this process's environment variables.
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
                # Ctrl-C is for us, and the process leads a group that holds what it starts.
                start_new_session=True,
            )
        self._guard = ProcessGuard(self._process.pid, whole_group=True)

    @property
    def process_id(self) -> int:
        """Its id, also when it has ended."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def wait(self) -> int:
        """Waits until it has ended by itself; gives its exit code, negative for a signal."""
        return self._process.wait()

    def ask_to_stop(self) -> None:
        """Sends SIGTERM and returns at once; `stop` waits."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)

    def stop(self, seconds: float) -> None:
        """Ends it in order; kills it, and what it has left behind, when that takes longer than `seconds`."""
        self.ask_to_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """Ends it and all it started as a crash would (SIGKILL), and returns when it is gone. Idempotent."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._guard.close()

    def children(self) -> list[int]:
        """The ids of the running processes that it started itself."""
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True)
        rows = (line.split() for line in listed.stdout.splitlines())
        mine = str(self.process_id)
        return [int(child) for child, parent, state in rows if parent == mine and not state.startswith("Z")]

    def log_end(self) -> str:
        """The end of what it printed."""
        return end_of_log(self.output)


def end_of_log(path: Path) -> str:
    """The last 2,000 characters of a log, or a word that there is none."""
    return path.read_text(errors="replace")[-2000:] if path.exists() else "(no log)"
