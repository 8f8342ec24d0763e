"""`beam-serving run` in its own process, as a user starts it, so that a test can kill it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 30.0


class ServingProcess:
    """One start of the pipeline. `close` ends it and every process that it started, however far it has come.

    Args:
      options: options of `beam-serving run`, as in the file of --config.
      folder: the folder for that file and the log.
    """

    def __init__(self, options: Mapping[str, Any], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "serving.yaml"
        config.write_text(json.dumps(dict(options)))  # JSON is YAML
        self.log_file = folder / "serving.log"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "beam_pipeline", "run", "--config", str(config)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def process_id(self) -> int:
        """The id of the process that was started."""
        return self._process.pid

    def family(self) -> list[psutil.Process]:
        """The process and all processes that it started."""
        here = psutil.Process(self._process.pid)
        return [here, *here.children(recursive=True)]

    def runs(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Kills the process, like a crash; the processes that it started have to notice this themselves."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Stops it as Ctrl-C would; returns its exit code."""
        self._process.send_signal(signal.SIGINT)
        return self.wait(STOP_SECONDS)

    def wait(self, seconds: float) -> int:
        """Waits for its end; returns its exit code."""
        return self._process.wait(seconds)

    def close(self) -> None:
        """Ends the process and all processes that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def log(self) -> str:
        """The output of all starts in this folder."""
        return self.log_file.read_text(errors="replace")
