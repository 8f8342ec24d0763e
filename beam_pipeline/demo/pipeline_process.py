"""The pipeline that the demo shows: `beam-serving run` in its own process, with its log in a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from beam_pipeline.demo.topics import DemoTopics
from beam_pipeline.demo.trained_models import APPLICATION_FOLDER
from models.errors import PipelineFailedError
from models.kafka.client import KafkaSettings
from runners.local.process_guard import ProcessGuard

_STOP_SECONDS = 20.0
_LOG_LINES = 15


def run_arguments(kafka: KafkaSettings, topics: DemoTopics) -> list[str]:
    """The arguments of `beam-serving run` for these topics."""
    return [
        *("--bootstrap-servers", kafka.bootstrap_servers),
        *("--records-topic", topics.records),
        *("--models-topic", topics.models),
        *("--results-topic", topics.results),
        *("--dead-letter-topic", topics.dead_letters),
        *("--status-topic", topics.status),
        *("--record-schema", "wine"),
        *("--group", topics.group),
        *("--start", "earliest"),
        *("--runner", "DirectRunner"),
        *(word for name, value in kafka.config.items() for word in ("--kafka-config", f"{name}={value}")),
    ]


class PipelineProcess:
    """The process of the pipeline.

    Life cycle: it runs from construction until `stop`, and never outlives this process.

    Args:
      arguments: the arguments of `beam-serving run`.
      log: the file for its output.
    """

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "beam_pipeline", "run", *arguments],
                cwd=APPLICATION_FOLDER,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C must reach the demo only, which then stops the pipeline in order.
                start_new_session=True,
            )
        self._guard = ProcessGuard(self._process.pid)
        self._stopped = False

    def check(self) -> None:
        """Raises PipelineFailedError, with the end of the log, when the pipeline has ended."""
        code = self._process.poll()
        if code is not None:
            raise PipelineFailedError(f"the pipeline ended with exit status {code}; the end of its log:\n{self._end()}")

    def stop(self) -> None:
        """Stops the pipeline, and kills it and the processes it started if it does not end. Idempotent."""
        if self._stopped:
            return
        self._stopped = True
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        # The pipeline leads its own process group, which includes its runner.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._guard.close()

    def _end(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"  {line[:300]}" for line in lines[-_LOG_LINES:])
