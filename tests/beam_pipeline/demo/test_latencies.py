from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from beam_pipeline.demo.latencies import Latencies
from beam_pipeline.demo.ledger import Ledger


@given(st.lists(st.floats(0.02, 1e6), min_size=1), st.sampled_from([0.01, 0.5, 0.99, 1.0]))
def test_a_percentile_is_that_of_the_sorted_list_to_two_in_a_hundred(values: list[float], fraction: float) -> None:
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    rank = max(1, -int(-len(values) * fraction // 1))
    assert latencies.percentile(fraction) == approx(sorted(values)[rank - 1], rel=0.021)


def test_no_latencies_have_no_percentile_and_parts_add_up() -> None:
    one, other = Latencies(), Latencies()
    assert Latencies([one, other]).percentile(0.5) is None
    one.add(10)
    other.add(1000)
    assert Latencies([one, other]).percentile(0.5) == approx(10, rel=0.02)
    assert Latencies([one, other]).percentile(0.99) == approx(1000, rel=0.02)


def test_latencies_of_nothing_and_of_a_clock_that_went_back_count_as_short() -> None:
    latencies = Latencies()
    latencies.add(0.0)
    latencies.add(-3.0)
    assert latencies.percentile(0.99) == approx(0.01, rel=0.03)


def test_what_is_not_answered_waits_and_what_is_answered_twice_is_a_duplicate() -> None:
    ledger = Ledger()
    first, second = ledger.send(10.0), ledger.send(10.5)
    assert ledger.answer(first, 11.0) == approx(1.0)
    assert ledger.answer(first, 12.0) is None
    assert (ledger.sent, ledger.answered, ledger.duplicates, ledger.waiting) == (2, 1, 1, 1)
    assert ledger.answer(second, 11.0) == approx(0.5)
    assert ledger.waiting == 0
