"""`beam-serving dashboard` in its own process, as a user starts it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
STOP_SECONDS = 20.0


class DashboardProcess:
    """The dashboard, on a free port.

    Args:
      options: options as in the file of --config.
      folder: the folder for that file and the log.
      arguments: further arguments.
    """

    def __init__(self, options: Mapping[str, Any], folder: Path, arguments: Sequence[str] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "dashboard.yaml"
        config.write_text(json.dumps(dict(options)))  # JSON is YAML
        self.log_file = folder / "dashboard.log"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "beam_pipeline",
                    "dashboard",
                    "--config",
                    str(config),
                    "--port",
                    "0",
                    *arguments,
                ],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("Dashboard: "), f"{line}{self.log_file.read_text()}"
        self.address = line.removeprefix("Dashboard: ").strip()

    def stop(self) -> int:
        """Stops it as Ctrl-C would; returns its exit code."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(STOP_SECONDS)

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
