from __future__ import annotations

import threading
from bisect import bisect_left

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.observing.instruments import BATCH_SIZE, INSTRUMENTS, MODEL_SHARE, MODELS_WAITING, RECORDS
from models.observing.totals import Totals

TOPIC = ("clicks",)


def test_names_are_unique_also_in_prometheus() -> None:
    assert (
        len({one.name for one in INSTRUMENTS}) == len({one.prometheus_name for one in INSTRUMENTS}) == len(INSTRUMENTS)
    )


@given(st.lists(st.lists(st.floats(0, 20_000), max_size=30), max_size=10))
def test_each_observation_is_in_the_bucket_of_the_first_limit_that_it_does_not_exceed(parts: list[list[float]]) -> None:
    totals = Totals()
    for part in parts:
        totals.measure_all(BATCH_SIZE, np.array(part, np.float64), TOPIC)
    values = [value for part in parts for value in part]
    expected = [0] * (len(BATCH_SIZE.limits) + 1)
    for value in values:
        expected[bisect_left(BATCH_SIZE.limits, value)] += 1
    if parts:
        found = totals.snapshot().distributions[BATCH_SIZE, TOPIC]
        assert found.counts.tolist() == expected
        assert found.count == len(values)
        assert np.isclose(found.total, sum(values))


def test_counters_grow_and_gauges_keep_the_last_value() -> None:
    totals = Totals()
    for value in (3, 4):
        totals.measure(RECORDS, value, TOPIC)
        totals.measure(MODELS_WAITING, value)
    assert totals.snapshot().numbers == {(RECORDS, TOPIC): 7, (MODELS_WAITING, ()): 4}


def test_a_gauge_forgets_labels_that_are_gone() -> None:
    totals = Totals()
    first, second = ("wine", "wine", "1", "", "serve"), ("wine", "wine", "2", "", "serve")
    totals.measure(RECORDS, 1, TOPIC)
    totals.replace(MODEL_SHARE, {first: 1.0})
    totals.replace(MODEL_SHARE, {second: 1.0})
    assert totals.snapshot().numbers == {(RECORDS, TOPIC): 1, (MODEL_SHARE, second): 1.0}


def test_a_snapshot_does_not_change_any_more() -> None:
    totals = Totals()
    totals.measure(BATCH_SIZE, 5, TOPIC)
    before = totals.snapshot()
    totals.measure(BATCH_SIZE, 5, TOPIC)
    assert before.distributions[BATCH_SIZE, TOPIC].count == 1
    since = totals.snapshot().distributions[BATCH_SIZE, TOPIC].minus(before.distributions[BATCH_SIZE, TOPIC])
    assert (since.count, since.total) == (1, 5.0)


def test_nothing_is_lost_between_threads() -> None:
    totals = Totals()

    def measure() -> None:
        for _ in range(2_000):
            totals.measure(RECORDS, 1, TOPIC)
            totals.measure(BATCH_SIZE, 1, TOPIC)

    threads = [threading.Thread(target=measure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = totals.snapshot()
    assert (found.numbers[RECORDS, TOPIC], found.distributions[BATCH_SIZE, TOPIC].count) == (8_000, 8_000)
