"""Runs a pipeline until it ends or is told to stop."""

from __future__ import annotations

import logging
import signal
import threading
import uuid
from collections.abc import Callable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from beam_pipeline.cli.logs import silence_runner
from beam_pipeline.graph import build
from beam_pipeline.options import ServingOptions
from models.errors import PipelineFailedError
from runners.local.signals import set_at_signals
from runners.plan import RunnerPlan, RunningJob
from transforms.worker_process import close_worker_process

_LOGGER = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_STOP_MILLISECONDS = 5_000
_ENDED = (PipelineState.DONE, PipelineState.FAILED, PipelineState.CANCELLED)


class RunningPipeline:
    """A pipeline that was started: `stop` ends it, `wait` waits for its end."""

    def __init__(self, start: Callable[[], Any], plan: RunnerPlan) -> None:
        result = start()
        plan.started()
        self._job: RunningJob = plan.job() if plan.job else _BeamJob(result)
        self._stopping = False

    def wait(self, stop: threading.Event) -> None:
        """Waits until the pipeline ends by itself or `stop` is set, and ends it then.

        Raises:
          PipelineFailedError: when it ended by itself.
          ServingError: when it did not end as it was told to.
        """
        ended = None
        while ended is None and not stop.wait(_POLL_SECONDS):
            ended = self._job.ended()
        if stop.is_set():
            self.stop()
            return
        close_worker_process()
        raise PipelineFailedError(f"the pipeline ended by itself: {ended}; see the log above")

    def stop(self) -> None:
        """Ends the pipeline, and commits what was acknowledged."""
        if self._stopping:
            return
        self._stopping = True
        silence_runner()
        try:
            self._job.stop()
        finally:
            close_worker_process()


class _BeamJob:
    """A pipeline of a runner that ends with this process, asked for through Beam's own result."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def ended(self) -> str | None:
        return str(self._result.state) if self._result.state in _ENDED else None

    def stop(self) -> None:
        try:
            self._result.cancel()
            # The worker's threads take leave of the runner; without this they would die of its end, loudly.
            self._result.wait_until_finish(duration=_STOP_MILLISECONDS)
        except Exception as error:
            if self._result.state not in _ENDED:
                _LOGGER.warning("the runner did not take the cancellation: %s", error)


def graph_of(options: ServingOptions, plan: RunnerPlan) -> beam.Pipeline:
    """The pipeline with the serving graph in it; it does not run yet."""
    pipeline = beam.Pipeline(options=PipelineOptions(list(plan.arguments)))
    build(pipeline, options, plan.firing, plan.frontiers, uuid.uuid4().hex)
    return pipeline


def run(options: ServingOptions, plan: RunnerPlan) -> None:
    """Runs the pipeline: until SIGINT (Ctrl-C) or SIGTERM, or hands it over to where it goes on by itself.

    Raises:
      PipelineFailedError: when it ends by itself.
      ServingError: when it does not end as it is told to.
    """
    start = graph_of(options, plan).run
    if plan.handed_over is not None:
        _LOGGER.info("%s", plan.handed_over(start()))
        return
    what = (
        f"scoring {options.records_topic!r} into {options.results_topic!r} with the models of {options.models_topic!r}"
    )
    run_until_signalled(start, plan, f"{what}; Ctrl-C stops")


def run_until_signalled(start: Callable[[], Any], plan: RunnerPlan, running_text: str) -> None:
    """Runs a pipeline until SIGINT (Ctrl-C) or SIGTERM.

    Args:
      start: starts it and gives Beam's result.
      plan: of its runner.
      running_text: is logged when it runs.

    Raises:
      PipelineFailedError: when it ends by itself.
    """
    # What the runner starts inherits this: a terminal's Ctrl-C goes to all, and must reach this process alone.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    running = RunningPipeline(start, plan)
    stop = set_at_signals(lambda number: _LOGGER.info("%s: stopping", number.name))
    _LOGGER.info("%s", running_text)
    running.wait(stop)
