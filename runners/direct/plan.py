"""The plan for this machine: Beam's Prism.

Beam's DirectRunner chooses Prism depending on the pipeline's content, and falls back to a runner that cannot run this
pipeline when Prism does not start. The plan therefore names the Prism runner explicitly, with an existing binary.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.errors import OptionsError
from runners.local.prism import guard_prism, locate_prism
from runners.plan import RunnerPlan
from runners.worker.loopback import tune_worker_process

REMOTE = False

_LOCATION = "--prism_location"


def plan(arguments: Sequence[str]) -> RunnerPlan:
    """Plans a run on Prism, taken from --prism_location or the cache, downloaded, or built from source.

    Raises:
      OptionsError: an argument cannot be used with Prism.
      PrismUnavailableError: Prism can be neither found, downloaded nor built.
    """
    for argument in arguments:
        if argument.split("=")[0] == "--environment_type" and not argument.endswith("=LOOPBACK"):
            raise OptionsError(f"{argument} cannot be used with the DirectRunner: its workers run in this process")
    tune_worker_process()
    given = _value_of(_LOCATION, arguments)
    rest = _without(_LOCATION, arguments)
    defaults = [] if _value_of("--prism_log_level", arguments) else ["--prism_log_level=warn"]
    return RunnerPlan(
        (
            "--runner=PrismRunner",
            "--streaming",
            "--environment_type=LOOPBACK",
            # Our sources refuse to be split, so Prism need not try to split every bundle that lasts over 100 ms.
            "--experiments=prism_disable_sdf_split",
            f"{_LOCATION}={locate_prism(given)}",
            *defaults,
            *rest,
        ),
        firing="default",
        frontiers="process",
        started=guard_prism,
    )


def _value_of(name: str, arguments: Sequence[str]) -> str | None:
    for place, argument in enumerate(arguments):
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2]
        if argument == name and place + 1 < len(arguments):
            return arguments[place + 1]
    return None


def _without(name: str, arguments: Sequence[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == name:
            skip = True
        elif not argument.startswith(f"{name}="):
            kept.append(argument)
    return kept
