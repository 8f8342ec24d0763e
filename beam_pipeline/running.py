"""Runs a pipeline until it ends or is told to stop."""

from __future__ import annotations

import logging
import signal
import threading
import uuid
from types import FrameType
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from beam_pipeline.graph import build
from beam_pipeline.logs import silence_runner
from beam_pipeline.options import ServingOptions
from models.errors import PipelineFailedError
from runners.plan import RunnerPlan
from transforms.worker_process import close_worker_process

_LOGGER = logging.getLogger(__name__)

_STOP_MILLISECONDS = 5_000
_ENDED = (PipelineState.DONE, PipelineState.FAILED, PipelineState.CANCELLED)


class RunningPipeline:
    """A pipeline that was started: `stop` ends it, `wait` waits for its end."""

    def __init__(self, options: ServingOptions, plan: RunnerPlan) -> None:
        pipeline = beam.Pipeline(options=PipelineOptions(list(plan.arguments)))
        build(pipeline, options, plan.firing, uuid.uuid4().hex)
        self._result: Any = pipeline.run()
        plan.started()
        self._stopping = False

    def wait(self, stop: threading.Event) -> None:
        """Waits until the pipeline ends by itself or `stop` is set, and ends it then.

        Raises:
          PipelineFailedError: when it ended by itself.
        """
        while not stop.wait(0.2):
            if self._result.state in _ENDED:
                break
        if stop.is_set():
            self.stop()
            return
        close_worker_process()
        raise PipelineFailedError(f"the pipeline ended by itself: {self._result.state}; see the log above")

    def stop(self) -> None:
        """Cancels the pipeline, and commits what was acknowledged."""
        if self._stopping:
            return
        self._stopping = True
        silence_runner()
        try:
            self._result.cancel()
            # The worker's threads take leave of the runner; without this they would die of its end, loudly.
            self._result.wait_until_finish(duration=_STOP_MILLISECONDS)
        except Exception as error:
            if self._result.state not in _ENDED:
                _LOGGER.warning("the runner did not take the cancellation: %s", error)
        close_worker_process()


def run_until_signalled(options: ServingOptions, plan: RunnerPlan) -> None:
    """Runs the pipeline until SIGINT (Ctrl-C) or SIGTERM.

    Raises:
      PipelineFailedError: when it ends by itself.
    """
    stop = threading.Event()

    def on_signal(number: int, _: FrameType | None) -> None:
        _LOGGER.info("%s: stopping", signal.Signals(number).name)
        stop.set()

    # What the runner starts inherits this: a terminal's Ctrl-C goes to all, and must reach this process alone.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    running = RunningPipeline(options, plan)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    _LOGGER.info(
        "scoring %r into %r with the models of %r; Ctrl-C stops",
        options.records_topic,
        options.results_topic,
        options.models_topic,
    )
    running.wait(stop)
