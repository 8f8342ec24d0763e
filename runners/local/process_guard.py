"""Keeps a child process from outliving this one, however this one ends."""

from __future__ import annotations

import os
import subprocess
import sys

# PR_SET_PDEATHSIG would fire when the *thread* that started the child ends, and exists on Linux only; so a small
# process of its own watches the parent. It runs isolated and without site-packages: 10 MB and no start-up cost.
_WATCH = """
import os, sys, time
parent, child = int(sys.argv[1]), int(sys.argv[2])
while os.getppid() == parent:
    time.sleep(0.2)
try:
    (os.killpg if sys.argv[3] == "group" else os.kill)(child, 9)
except ProcessLookupError:
    pass
"""


class ProcessGuard:
    """Kills one child process of ours as soon as this process is gone, even by SIGKILL.

    Life cycle: it watches from construction until `close`, which is called once the child has ended.

    Args:
      child: its process id.
      whole_group: kill what the child started, too; the child must lead a process group of its own.
    """

    def __init__(self, child: int, *, whole_group: bool = False) -> None:
        reach = "group" if whole_group else "child"
        self._watcher = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCH, str(os.getpid()), str(child), reach],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Out of the terminal's process group: Ctrl-C must not end the guard before it has done its work.
            start_new_session=True,
        )

    def close(self) -> None:
        """Stops watching. Idempotent."""
        self._watcher.kill()
        self._watcher.wait()
