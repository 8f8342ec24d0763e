"""The dashboard of the demo: `beam-serving dashboard` in its own process, on a free port."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from beam_pipeline.demo.topics import DemoTopics
from beam_pipeline.demo.trained_models import APPLICATION_FOLDER
from models.kafka.client import KafkaSettings
from runners.local.process_guard import ProcessGuard

_STOP_SECONDS = 10.0
_ANNOUNCED = "Dashboard: "


def dashboard_arguments(kafka: KafkaSettings, topics: DemoTopics) -> list[str]:
    """The arguments of `beam-serving dashboard` for these topics."""
    return [
        *("--bootstrap-servers", kafka.bootstrap_servers),
        *("--records-topic", topics.records),
        *("--models-topic", topics.models),
        *("--results-topic", topics.results),
        *("--dead-letter-topic", topics.dead_letters),
        *("--status-topic", topics.status),
        *("--record-schema", "wine"),
        *("--port", "0"),
        *(word for name, value in kafka.config.items() for word in ("--kafka-config", f"{name}={value}")),
    ]


def can_run() -> bool:
    """Whether the packages of the dashboard are installed; the demo also runs without it."""
    return find_spec("starlette") is not None and find_spec("uvicorn") is not None


class DashboardProcess:
    """The process of the dashboard.

    Life cycle: it runs from construction until `stop`, and never outlives this process.

    Args:
      arguments: the arguments of `beam-serving dashboard`.
      log: the file for its log.
    """

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "beam_pipeline", "dashboard", *arguments],
                cwd=APPLICATION_FOLDER,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                # Ctrl-C must reach the demo only, which then stops the dashboard in order.
                start_new_session=True,
            )
        self._guard = ProcessGuard(self._process.pid)
        self._address: str | None = None
        self._reader = threading.Thread(target=self._read, name="dashboard", daemon=True)
        self._reader.start()

    @property
    def address(self) -> str | None:
        """The address of the page; None until it answers, and if it cannot be started."""
        return self._address

    def stop(self) -> None:
        """Stops the dashboard."""
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._guard.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.decode(errors="replace").strip()
            if text.startswith(_ANNOUNCED):
                self._address = text.removeprefix(_ANNOUNCED)
        self._process.stdout.close()
