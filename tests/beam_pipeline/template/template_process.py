"""Runs the graph of a classic template on Prism, like a job that has been started with parameters.

Only the firing of the model view is exchanged, because Prism rejects Dataflow's. The argument is the path of a JSON
file:

    {"built_with": {OPTION: VALUE}, "parameters": {NAME: VALUE}, "prism_location": PATH}
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from apache_beam.options.value_provider import RuntimeValueProvider

from beam_pipeline.running import RunningPipeline, graph_of
from beam_pipeline.template.classic import classic_options
from runners.local.signals import set_at_signals
from runners.plan import plan_runner


def main(path: str) -> None:
    """Runs the graph until SIGTERM."""
    given = json.loads(Path(path).read_text(encoding="utf-8"))
    stop = set_at_signals()
    options = classic_options(given["built_with"], [])
    plan = plan_runner("DirectRunner", [f"--prism_location={given['prism_location']}"])
    plan = replace(plan, frontiers="state")
    pipeline = graph_of(options, plan)
    # A worker does this first: from here on, everything that is unpickled has the job's parameters.
    RuntimeValueProvider.set_runtime_options(given["parameters"])
    RunningPipeline(pipeline.run, plan).wait(stop)


if __name__ == "__main__":
    main(sys.argv[1])
