"""Runs the steps of a graph: each after those that it needs, and independent ones concurrently."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextvars import copy_context
from graphlib import TopologicalSorter


def run_steps(needs: Mapping[str, Collection[str]], run: Callable[[str], None], executor: Executor) -> None:
    """Calls `run` once for each step.

    If only one step is ready, it runs in the calling thread; others run in copies of its context. If a call raises, no
    further step is started, and the error is raised after the running ones have ended.

    Args:
      needs: the steps that each step needs, without cycles.
      run: runs a step; it must not wait for the executor.
      executor: runs steps concurrently.
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
            running.update({executor.submit(copy_context().run, run, name): name for name in ready})
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                sorter.done(running.pop(future))
                future.result()
    finally:
        wait(running)
