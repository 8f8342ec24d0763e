from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from transforms.process_shared import ProcessShared, close_all


class Value:
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def handles(count: int) -> list[ProcessShared[Value]]:
    return [ProcessShared() for _ in range(count)]


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    close_all()


def test_urgent_values_are_closed_first() -> None:
    closed: list[str] = []

    class Named(Value):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def close(self) -> None:
            closed.append(self.name)

    ProcessShared[Named]().enter(lambda: Named("first made"))
    ProcessShared[Named](urgent=True).enter(lambda: Named("urgent"))
    close_all()
    assert closed == ["urgent", "first made"]


def test_all_of_a_pipeline_share_one_value_and_the_last_to_leave_closes_it() -> None:
    handle, other = handles(2)
    first = handle.enter(Value)
    assert pickle.loads(pickle.dumps(handle)).enter(Value) is first
    assert other.enter(Value) is not first
    handle.leave()
    assert first.closed == 0
    handle.leave()
    assert first.closed == 1
    assert handle.enter(Value) is not first


def test_a_value_created_before_the_first_enter_is_shared_and_closed_too() -> None:
    (handle,) = handles(1)
    first = handle.value(Value)
    assert handle.value(Value) is first
    assert handle.enter(Value) is first
    handle.leave()
    assert first.closed == 1
    orphan = handle.value(Value)
    assert orphan is not first
    close_all()
    assert orphan.closed == 1


def test_leaving_after_all_were_closed_changes_nothing() -> None:
    both = handles(2)
    made = [one.enter(Value) for one in both]
    close_all()
    close_all()
    both[0].leave()
    assert [one.closed for one in made] == [1, 1]


def test_a_value_that_cannot_be_created_leaves_nothing_behind() -> None:
    (handle,) = handles(1)

    def fail() -> Value:
        raise RuntimeError("no broker")

    with pytest.raises(RuntimeError):
        handle.enter(fail)
    made = handle.enter(Value)
    handle.leave()
    assert made.closed == 1


def test_concurrent_enters_create_the_value_once() -> None:
    (handle,) = handles(1)
    entered: list[Value] = []
    threads = [threading.Thread(target=lambda: entered.append(handle.enter(Value))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(one) for one in entered}) == 1


WAIT = 20.0


class Making:
    """Creates a value when it is released, like a network call."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.value = Value()

    def __call__(self) -> Value:
        self.begun.set()
        assert self.go_on.wait(WAIT)
        return self.value


def test_a_slow_creation_does_not_block_other_pipelines() -> None:
    handle, fast = handles(2)
    slow = Making()
    with ThreadPoolExecutor(2) as pool:
        entering = pool.submit(handle.enter, slow)
        assert slow.begun.wait(WAIT)
        try:
            assert pool.submit(fast.enter, Value).result(WAIT)
            fast.leave()
        finally:
            slow.go_on.set()
        assert entering.result(WAIT) is slow.value
    handle.leave()
    assert slow.value.closed == 1


def test_a_value_created_while_all_are_closed_is_closed_too() -> None:
    (handle,) = handles(1)
    slow = Making()
    with ThreadPoolExecutor(2) as pool:
        entering = pool.submit(handle.enter, slow)
        assert slow.begun.wait(WAIT)
        closing = pool.submit(close_all)
        slow.go_on.set()
        closing.result(WAIT)
        entering.result(WAIT)
    assert slow.value.closed == 1
