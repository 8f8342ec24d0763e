"""The interface to runners: what each runner needs to run the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from models.errors import OptionsError
from models.runner_facts import BeamMetricsForm, Firing, Frontiers

# A new runner is one new file and one line in this table.
RUNNER_MODULES = {
    "DirectRunner": "runners.direct.plan",
    "PrismRunner": "runners.direct.plan",
    "FlinkRunner": "runners.flink.plan",
    "DataflowRunner": "runners.dataflow.plan",
}


class RunningJob(Protocol):
    """A started pipeline, on a runner that can report its state."""

    def ended(self) -> str | None:
        """How the pipeline ended by itself; None while it runs."""

    def stop(self) -> None:
        """Stops the pipeline and returns when it has ended; raises ServingError when it does not end."""


@dataclass(frozen=True)
class RunnerPlan:
    """How to run the pipeline on a runner.

    Attributes:
      arguments: the arguments of Beam's PipelineOptions.
      firing: how the side input of model updates fires on this runner.
      frontiers: where the runner keeps the frontiers of acknowledged offsets.
      metrics: how much of what is measured becomes Beam's own metrics.
      started: called once the pipeline runs.
      job: creates the object that watches and stops the running pipeline; None to use Beam's own result.
      handed_over: for a pipeline that runs on without this process: takes Beam's result and describes where it runs.
    """

    arguments: tuple[str, ...]
    firing: Firing
    frontiers: Frontiers
    metrics: BeamMetricsForm = "none"
    started: Callable[[], None] = lambda: None
    job: Callable[[], RunningJob] | None = None
    handed_over: Callable[[Any], str] | None = None


class RunnerModule(Protocol):
    """What every module in `RUNNER_MODULES` provides.

    Attributes:
      REMOTE: whether the pipeline runs in another network, from a graph that is stored there. Its brokers may then be
        unreachable from this machine, and its options must not contain secrets.
    """

    REMOTE: bool

    def plan(self, arguments: Sequence[str]) -> RunnerPlan:
        """Checks the user's own Beam arguments, and prepares what the runner needs on this machine.

        Raises:
          ServingError: the arguments cannot work or something is missing; the message names a remedy.
        """


def check_runner(name: str) -> None:
    """Raises OptionsError when the runner is not supported."""
    if name not in RUNNER_MODULES:
        raise OptionsError(f"--runner {name!r} is not supported; choose one of {', '.join(RUNNER_MODULES)}")


def import_runner(name: str) -> RunnerModule:
    """Imports the module of a runner, which also registers the runner's options with Beam.

    Raises:
      OptionsError: the runner is not supported.
    """
    check_runner(name)
    module: RunnerModule = import_module(RUNNER_MODULES[name])
    return module


def plan_runner(name: str, arguments: Sequence[str]) -> RunnerPlan:
    """Imports a runner and makes its plan.

    Raises:
      OptionsError: the runner is not supported.
      ServingError: raised by the runner's own `plan`.
    """
    return import_runner(name).plan(arguments)
