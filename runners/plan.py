"""What a runner wants of a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from models.errors import OptionsError
from models.runner_facts import Firing, Frontiers

# A new runner is one new file and one line in this table.
RUNNER_MODULES = {
    "DirectRunner": "runners.local.direct",
    "PrismRunner": "runners.local.direct",
    "FlinkRunner": "runners.flink.plan",
    "DataflowRunner": "runners.dataflow.plan",
}


class RunningJob(Protocol):
    """A pipeline that was started, on a runner that can be asked for it."""

    def ended(self) -> str | None:
        """How it ended by itself; None while it goes on."""

    def stop(self) -> None:
        """Ends it, and returns when it has ended; raises ServingError when it has not."""


@dataclass(frozen=True)
class RunnerPlan:
    """What a runner wants.

    Attributes:
      arguments: for Beam's PipelineOptions.
      firing: how the side input of model updates fires there.
      frontiers: where the frontiers of acknowledged offsets live there.
      started: called when the pipeline runs.
      job: what watches and ends the pipeline, once it runs; None: Beam's own result does.
      handed_over: for a pipeline that goes on without this process: given Beam's result, says where it went.
    """

    arguments: tuple[str, ...]
    firing: Firing
    frontiers: Frontiers
    started: Callable[[], None] = lambda: None
    job: Callable[[], RunningJob] | None = None
    handed_over: Callable[[Any], str] | None = None


class RunnerModule(Protocol):
    """What a module of `RUNNER_MODULES` has.

    Attributes:
      REMOTE: the pipeline runs in a network of its own, by a graph that is stored there: its brokers need not be
        reachable from here, and no secret may be in its options.
    """

    REMOTE: bool

    def plan(self, arguments: Sequence[str]) -> RunnerPlan:
        """Checks the user's own Beam arguments, and gets ready on this machine what the runner needs.

        Raises:
          ServingError: when they cannot work, or something is missing; the message says what to do.
        """


def check_runner(name: str) -> None:
    """Raises OptionsError when no such runner is supported."""
    if name not in RUNNER_MODULES:
        raise OptionsError(f"--runner {name!r} is not supported; choose one of {', '.join(RUNNER_MODULES)}")


def import_runner(name: str) -> RunnerModule:
    """The module of the runner of that name; from then on Beam knows the runner's options.

    Raises:
      OptionsError: when no such runner is supported.
    """
    check_runner(name)
    module: RunnerModule = import_module(RUNNER_MODULES[name])
    return module


def plan_runner(name: str, arguments: Sequence[str]) -> RunnerPlan:
    """The plan of the runner of that name.

    Raises:
      OptionsError: when no such runner is supported.
      ServingError: as the runner's own module says.
    """
    return import_runner(name).plan(arguments)
