from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given

from models.graphs.schedule import run_steps
from models.model_topic.graph import Graph
from tests.models.graph_strategies import graphs

EXECUTOR = ThreadPoolExecutor(8)


@given(graphs())
def test_each_step_runs_once_and_behind_those_that_it_needs(graph: Graph) -> None:
    done: list[str] = []

    def run(name: str) -> None:
        assert graph.needs[name] <= set(done)
        done.append(name)

    run_steps(graph.needs, run, EXECUTOR)
    assert sorted(done) == sorted(graph.by_name)


def test_a_step_starts_as_soon_as_its_own_needs_are_met() -> None:
    behind_fast = threading.Event()

    def run(name: str) -> None:
        if name == "slow":
            assert behind_fast.wait(60), "the step behind the fast one waits for the slow one"
        if name == "behind":
            behind_fast.set()

    run_steps({"slow": [], "fast": [], "behind": ["fast"], "last": ["slow", "behind"]}, run, EXECUTOR)


def test_an_error_is_raised_when_the_other_steps_have_ended() -> None:
    failed, ended = threading.Event(), threading.Event()

    def run(name: str) -> None:
        if name == "bad":
            failed.set()
            raise RuntimeError("bad")
        assert name == "good"
        failed.wait(60)
        ended.set()

    with pytest.raises(RuntimeError, match="bad"):
        run_steps({"bad": [], "good": [], "last": ["bad", "good"]}, run, EXECUTOR)
    assert ended.is_set()
