"""Makes sure that a child process does not outlive this one, however this one ends."""

from __future__ import annotations

import os
import subprocess
import sys

# A small separate process watches the parent, because PR_SET_PDEATHSIG fires when the *thread* that started the child
# ends, and exists on Linux only. The watcher runs isolated and without site-packages, which keeps it at 10 MB and makes
# it start at once.
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
    """Kills a child process as soon as this process has ended, even by SIGKILL.

    Life cycle: it watches from construction until `close`, which must be called once the child has ended.

    Args:
      child: the process id of the child.
      whole_group: also kill the processes that the child started; the child must lead its own process group.
    """

    def __init__(self, child: int, *, whole_group: bool = False) -> None:
        reach = "group" if whole_group else "child"
        self._watcher = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCH, str(os.getpid()), str(child), reach],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Leaves the terminal's process group, so that Ctrl-C does not end the watcher before it has done its work.
            start_new_session=True,
        )

    def close(self) -> None:
        """Stops watching. Idempotent."""
        self._watcher.kill()
        self._watcher.wait()
