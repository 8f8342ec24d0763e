from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from transforms.per_pipeline import PerPipeline


class Value:
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_all_of_a_pipeline_share_one_value_and_the_last_to_leave_closes_it() -> None:
    values: PerPipeline[Value] = PerPipeline()
    first = values.enter("a", Value)
    assert values.enter("a", Value) is first
    assert values.enter("b", Value) is not first
    values.leave("a")
    assert first.closed == 0
    values.leave("a")
    assert first.closed == 1
    assert values.enter("a", Value) is not first


def test_what_was_made_before_the_first_entered_is_shared_and_closed_too() -> None:
    values: PerPipeline[Value] = PerPipeline()
    first = values.value("a", Value)
    assert values.value("a", Value) is first
    assert values.enter("a", Value) is first
    values.leave("a")
    assert first.closed == 1
    orphan = values.value("a", Value)
    assert orphan is not first
    values.close_all()
    assert orphan.closed == 1


def test_leaving_after_all_were_closed_changes_nothing() -> None:
    values: PerPipeline[Value] = PerPipeline()
    made = [values.enter(name, Value) for name in ("a", "b")]
    values.close_all()
    values.close_all()
    values.leave("a")
    assert [one.closed for one in made] == [1, 1]


def test_a_value_that_cannot_be_made_leaves_nothing_behind() -> None:
    values: PerPipeline[Value] = PerPipeline()

    def fail() -> Value:
        raise RuntimeError("no broker")

    with pytest.raises(RuntimeError):
        values.enter("a", fail)
    made = values.enter("a", Value)
    values.leave("a")
    assert made.closed == 1


def test_it_is_made_once_however_many_enter_at_once() -> None:
    values: PerPipeline[Value] = PerPipeline()
    entered: list[Value] = []
    threads = [threading.Thread(target=lambda: entered.append(values.enter("a", Value))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(one) for one in entered}) == 1


WAIT = 20.0


class Making:
    """Makes a value when it is allowed to, as a call of the network does."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.value = Value()

    def __call__(self) -> Value:
        self.begun.set()
        assert self.go_on.wait(WAIT)
        return self.value


def test_a_value_that_takes_long_to_make_does_not_hold_up_other_pipelines() -> None:
    values: PerPipeline[Value] = PerPipeline()
    slow = Making()
    with ThreadPoolExecutor(2) as pool:
        entering = pool.submit(values.enter, "slow", slow)
        assert slow.begun.wait(WAIT)
        try:
            assert pool.submit(values.enter, "fast", Value).result(WAIT)
            values.leave("fast")
        finally:
            slow.go_on.set()
        assert entering.result(WAIT) is slow.value
    values.leave("slow")
    assert slow.value.closed == 1


def test_a_value_that_is_made_while_all_are_closed_is_closed_too() -> None:
    values: PerPipeline[Value] = PerPipeline()
    slow = Making()
    with ThreadPoolExecutor(2) as pool:
        entering = pool.submit(values.enter, "slow", slow)
        assert slow.begun.wait(WAIT)
        closing = pool.submit(values.close_all)
        slow.go_on.set()
        closing.result(WAIT)
        entering.result(WAIT)
    assert slow.value.closed == 1
