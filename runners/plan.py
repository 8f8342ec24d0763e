"""What a runner wants of a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from models.errors import OptionsError
from models.firing import Firing

# A new runner is one new file and one line in this table.
RUNNER_MODULES = {
    "DirectRunner": "runners.direct",
    "PrismRunner": "runners.direct",
}


@dataclass(frozen=True)
class RunnerPlan:
    """What a runner wants.

    Attributes:
      arguments: for Beam's PipelineOptions.
      firing: how the side input of model updates fires there.
      started: called when the pipeline runs.
    """

    arguments: tuple[str, ...]
    firing: Firing
    started: Callable[[], None] = lambda: None


class RunnerModule(Protocol):
    """What a module of `RUNNER_MODULES` has."""

    def plan(self, arguments: Sequence[str]) -> RunnerPlan:
        """Checks the user's own Beam arguments, and gets ready on this machine what the runner needs.

        Raises:
          ServingError: when they cannot work, or something is missing; the message says what to do.
        """


def check_runner(name: str) -> None:
    """Raises OptionsError when no such runner is supported."""
    if name not in RUNNER_MODULES:
        raise OptionsError(f"--runner {name!r} is not supported; choose one of {', '.join(RUNNER_MODULES)}")


def plan_runner(name: str, arguments: Sequence[str]) -> RunnerPlan:
    """The plan of the runner of that name.

    Raises:
      OptionsError: when no such runner is supported.
      ServingError: as the runner's own module says.
    """
    check_runner(name)
    module: RunnerModule = import_module(RUNNER_MODULES[name])
    return module.plan(arguments)
