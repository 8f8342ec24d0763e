"""The rings of the charts: what is counted, what is forgotten, and that memory is bounded whatever arrives."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.dashboard.history import MOST_DURATIONS, Answer, DurationSample, History, percentile_of
from beam_pipeline.dashboard.versions import COLOURS, MOST_VERSIONS, NO_MODEL, OTHERS

NOW = 1_000_000


class Clock:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def answer(at: int, model: str | None = "wine", version: int | None = 1, failed: bool = False) -> Answer:
    return Answer(at * 1000, model, version, failed, 2.0)


def test_the_rows_name_the_version_that_answered_in_each_second() -> None:
    clock = Clock()
    history = History(60, clock)
    for at, version, number in ((NOW - 5, 1, 10), (NOW - 4, 1, 6), (NOW - 4, 2, 2), (NOW - 2, 2, 4)):
        for _ in range(number):
            history.count(at * 1000)
            history.see(answer(at, version=version))
    numbers = {one["label"]: str(one["number"]) for one in history.versions()}
    rows = {row["at"]: row["rates"] for row in history.seconds()}
    assert rows == {
        NOW - 5: {numbers["wine/1"]: 10},
        NOW - 4: {numbers["wine/1"]: 6, numbers["wine/2"]: 2},
        NOW - 3: {},
        NOW - 2: {numbers["wine/2"]: 4},
    }


def test_a_sample_is_scaled_to_the_results_that_were_counted() -> None:
    history = History(60, Clock())
    history.count((NOW - 3) * 1000, 90)
    history.count_between((NOW - 3) * 1000, (NOW - 3) * 1000 + 500, 10)
    for version in (1, 1, 1, 2):
        history.see(answer(NOW - 3, version=version))
    (row, _) = history.seconds()
    assert row["rate"] == 100
    assert sorted(row["rates"].values()) == [25, 75]


@given(st.integers(-1000, 700), st.integers(0, 2000), st.integers(1, 10**7))
def test_results_that_were_skipped_are_spread_over_their_time(begin: int, length: int, number: int) -> None:
    history = History(600, Clock())
    first = NOW - 600 + begin
    history.count_between(first * 1000, (first + length) * 1000, number)
    assert history.totals()["results"] == number
    # Whole seconds end a second before now; what is older than the window is not shown.
    assert sum(row["rate"] for row in history.seconds()) <= number * 1.01 + 600 * 0.05


@given(st.lists(st.tuples(st.integers(-(10**9), 10**9), st.integers(0, 60), st.booleans()), max_size=300))
def test_memory_is_bounded_whatever_arrives(answers: list[tuple[int, int, bool]]) -> None:
    clock = Clock()
    history = History(30, clock)
    for shift, version, failed in answers:
        history.count((NOW + shift) * 1000)
        history.see(answer(NOW + shift, version=version, failed=failed))
        history.see_latency((NOW + shift) * 1000, 1.0)
        clock.now += 0.5
    assert len(history._seconds) <= 30 + 3
    assert len(history.versions()) <= MOST_VERSIONS + 2
    assert len(history.seconds()) <= 30


def test_versions_beyond_the_room_are_the_others_until_earlier_ones_are_forgotten() -> None:
    clock = Clock()
    history = History(30, clock)
    shown = [history.see(answer(NOW, version=number)) for number in range(1, MOST_VERSIONS + 2)]
    assert shown[-1] == OTHERS
    assert len({one.number for one in shown}) == MOST_VERSIONS + 1
    clock.now += 31
    late = history.see(answer(NOW + 31, version=99))
    assert late.label == "wine/99"
    assert late.number not in {one.number for one in shown}


def test_neighbouring_versions_have_different_colours() -> None:
    history = History(30, Clock())
    colours = [history.see(answer(NOW, version=number)).colour for number in range(1, 2 * COLOURS + 1)]
    assert colours[:COLOURS] == list(range(COLOURS))
    assert set(Counter(colours).values()) == {2}


def test_results_without_a_model_are_shown_as_such() -> None:
    history = History(30, Clock())
    assert history.see(answer(NOW, None, None)) == NO_MODEL


def test_a_hostile_name_of_a_model_is_short_and_on_one_line() -> None:
    history = History(30, Clock())
    label = history.see(answer(NOW, "<script>\n" + "x" * 10_000, 1)).label
    assert len(label) <= 80
    assert "\n" not in label


def test_the_totals_are_those_of_the_last_seconds() -> None:
    history = History(60, Clock())
    for at in range(NOW - 11, NOW - 1):
        history.count(at * 1000, 20)
        history.see(answer(at))
        history.see(answer(at, failed=True))
        for duration in (1.0, 3.0):
            history.see_latency(at * 1000, duration)
    totals = history.totals()
    assert (totals["rate"], totals["errors"], totals["p50"], totals["p99"]) == (20, 0.5, 1.0, 3.0)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_enough_others_do_not_exceed(values: list[float], percent: int) -> None:
    found = percentile_of(values, percent)
    assert found is not None
    assert sum(one <= found for one in values) * 100 >= percent * len(values)
    smaller = [one for one in values if one < found]
    assert len(smaller) * 100 < percent * len(values)


def test_each_duration_has_the_same_chance_to_be_kept() -> None:
    kept: Counter[bool] = Counter()
    for _ in range(50):
        sample = DurationSample()
        for duration in range(10 * MOST_DURATIONS):
            sample.add(float(duration))
        assert len(sample.kept) == MOST_DURATIONS
        kept.update(one < 5 * MOST_DURATIONS for one in sample.kept)
    assert kept[True] / kept.total() == pytest.approx(0.5, abs=0.05)
