"""Runs the steps of a graph: each behind those that it needs, and those that do not need each other side by side."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from graphlib import TopologicalSorter


def run_steps(needs: Mapping[str, Collection[str]], run: Callable[[str], None], executor: Executor) -> None:
    """Calls `run` once for each step.

    A step that is ready alone runs in the calling thread. When a call raises, no further step is started, and the error
    is raised after the others have ended.

    Args:
      needs: the steps that each step needs, without a circle.
      run: runs a step; it must not wait for the executor.
      executor: runs steps side by side.
    """
    sorter = TopologicalSorter(needs)
    sorter.prepare()
    running: dict[Future[None], str] = {}
    try:
        while sorter.is_active():
            ready = sorter.get_ready()
            if len(ready) == 1 and not running:
                run(ready[0])
                sorter.done(ready[0])
                continue
            running.update({executor.submit(run, name): name for name in ready})
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                sorter.done(running.pop(future))
                future.result()
    finally:
        wait(running)
