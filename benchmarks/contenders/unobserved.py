"""`python -m benchmarks.contenders.unobserved run ...`: `beam-serving run`, which measures nothing of what it does."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from models.observing import settings
from models.observing.observation import Observation
from models.observing.observer import NoObserver
from models.observing.totals import Totals


class Unobserved(NoObserver, Observation):
    """Ignores measurements and answers, where an `Observation` keeps sums."""

    def __init__(self) -> None:
        Observation.__init__(self, Totals())


def main(arguments: Sequence[str]) -> int:
    """Runs the command line with nobody observing; the workers must be in this process."""
    from beam_pipeline.cli.command_line import main as run_command

    settings.ObservationSettings.open = lambda self: Unobserved()  # type: ignore[method-assign]
    return run_command(list(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
