"""Runs a pipeline until it ends or is asked to stop."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from beam_pipeline.graph import build
from beam_pipeline.logs import silence_runner
from beam_pipeline.options import ServingOptions
from models.errors import PipelineFailedError
from runners.local.signals import StopRequest, set_at_signals
from runners.plan import RunnerPlan, RunningJob
from transforms.process_shared import close_all

_LOGGER = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_STOP_MILLISECONDS = 5_000
_ENDED = (PipelineState.DONE, PipelineState.FAILED, PipelineState.CANCELLED)


class RunningPipeline:
    """A started pipeline.

    Creating the object starts it. `wait` blocks until it ends; `stop` ends it, and calling it again has no effect.
    """

    def __init__(self, start: Callable[[], Any], plan: RunnerPlan) -> None:
        result = start()
        plan.started()
        self._job: RunningJob = plan.job() if plan.job else _BeamJob(result)
        self._stopping = False

    def wait(self, stop: StopRequest) -> None:
        """Waits until the pipeline ends by itself or `stop` is set, and stops it in the latter case.

        Raises:
          PipelineFailedError: the pipeline ended by itself.
          ServingError: the pipeline did not stop cleanly.
        """
        ended = None
        while ended is None and not stop.wait(_POLL_SECONDS):
            ended = self._job.ended()
        if stop.is_set():
            self.stop()
            return
        close_all()
        raise PipelineFailedError(f"the pipeline ended by itself: {ended}; see the log above")

    def stop(self) -> None:
        """Stops the pipeline and commits the acknowledged offsets."""
        if self._stopping:
            return
        self._stopping = True
        silence_runner()
        try:
            self._job.stop()
        finally:
            close_all()


class _BeamJob:
    """A pipeline on a runner that ends with this process, controlled through Beam's own result."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def ended(self) -> str | None:
        return str(self._result.state) if self._result.state in _ENDED else None

    def stop(self) -> None:
        try:
            self._result.cancel()
            # Gives the worker's threads time to disconnect from the runner. Otherwise they would fail noisily when
            # its process ends.
            self._result.wait_until_finish(duration=_STOP_MILLISECONDS)
        except Exception as error:
            # Cancelling a job that has just ended raises too; only a job that still runs is worth a warning.
            if self._result.state not in _ENDED:
                _LOGGER.warning("the runner did not accept the cancellation: %s", error)


def graph_of(options: ServingOptions, plan: RunnerPlan) -> beam.Pipeline:
    """Builds the pipeline with the serving graph, without running it."""
    pipeline = beam.Pipeline(options=PipelineOptions(list(plan.arguments)))
    build(pipeline, options, plan.firing, plan.frontiers, plan.metrics)
    return pipeline


def run(options: ServingOptions, plan: RunnerPlan) -> None:
    """Runs the pipeline until SIGINT (Ctrl-C) or SIGTERM, or submits it to a service that runs it from then on.

    Raises:
      PipelineFailedError: the pipeline ended by itself.
      ServingError: the pipeline did not stop cleanly.
    """
    start = graph_of(options, plan).run
    if plan.handed_over is not None:
        _LOGGER.info("%s", plan.handed_over(start()))
        return
    topics = ", ".join(repr(one.topic) for one in options.records_topics())
    what = f"scoring {topics} into {options.results_topic!r} with the models of {options.models_topic!r}"
    run_until_signalled(start, plan, f"{what}; Ctrl-C stops")


def run_until_signalled(start: Callable[[], Any], plan: RunnerPlan, running_text: str) -> None:
    """Runs a pipeline until SIGINT (Ctrl-C) or SIGTERM.

    Args:
      start: starts the pipeline and returns Beam's result.
      plan: the plan of its runner.
      running_text: logged once the pipeline runs.

    Raises:
      PipelineFailedError: the pipeline ended by itself.
      ServingError: the pipeline did not stop cleanly.
    """
    # A terminal sends Ctrl-C to the whole process group, but only this process may act on it: it stops the others in
    # order. Processes that the runner starts inherit the ignored signal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    running = RunningPipeline(start, plan)
    stop = set_at_signals(lambda number: _LOGGER.info("%s: stopping", number.name))
    _LOGGER.info("%s", running_text)
    running.wait(stop)
