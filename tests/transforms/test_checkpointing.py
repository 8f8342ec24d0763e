from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.checkpointing import END, Reading, ReadingCoder, ReadingTracker

offsets = st.integers(0, END - 1)


@given(origin=offsets, position=offsets, done=st.booleans())
def test_a_reading_survives_its_coder(origin: int, position: int, done: bool) -> None:
    reading = Reading(origin, position, done)
    assert ReadingCoder().decode(ReadingCoder().encode(reading)) == reading
    assert ReadingCoder().is_deterministic()


def test_claims_move_the_position_and_a_checkpoint_gives_the_rest_from_there() -> None:
    tracker = ReadingTracker(Reading(3, 10))
    assert tracker.try_claim(15)
    assert tracker.try_claim(20)
    assert tracker.try_split(0) == (Reading(3, 10, done=True), Reading(3, 20))


def test_a_checkpoint_before_the_first_claim_gives_everything_back() -> None:
    assert ReadingTracker(Reading(3, 10)).try_split(0) == (Reading(3, 10, done=True), Reading(3, 10))


@pytest.mark.parametrize("fraction", [0.5, 1, 0.000001])
def test_a_reading_is_never_split(fraction: float) -> None:
    tracker = ReadingTracker(Reading(0, 0))
    assert tracker.try_split(fraction) is None
    assert tracker.try_claim(1), "it reads on"


def test_nothing_can_be_claimed_after_a_checkpoint() -> None:
    tracker = ReadingTracker(Reading(0, 0))
    assert tracker.try_claim(5)
    assert tracker.try_split(0) is not None
    assert not tracker.try_claim(6)
    assert tracker.try_split(0) is None, "a second checkpoint gives the rest to nobody else"
    assert tracker.current_restriction() == Reading(0, 0, done=True)
    tracker.check_done()


def test_claiming_the_end_leaves_nothing() -> None:
    tracker = ReadingTracker(Reading(0, 7))
    assert tracker.try_claim(END)
    assert tracker.try_split(0) is None
    assert not tracker.try_claim(8)
    tracker.check_done()


def test_a_reading_that_is_done_claims_nothing() -> None:
    tracker = ReadingTracker(Reading(0, 7, done=True))
    assert not tracker.try_claim(8)
    assert tracker.try_split(0) is None
    tracker.check_done()


def test_stopping_without_a_checkpoint_is_an_error() -> None:
    tracker = ReadingTracker(Reading(0, 7))
    assert tracker.try_claim(9)
    with pytest.raises(ValueError, match="the bundle ended at position 9 without a checkpoint"):
        tracker.check_done()


def test_progress_counts_the_claimed_and_the_remaining_positions() -> None:
    tracker = ReadingTracker(Reading(0, 100), backlog=50)
    assert tracker.try_claim(120)
    progress = tracker.current_progress()
    assert (progress.completed_work, progress.remaining_work) == (20, 30)


def test_the_work_is_unbounded() -> None:
    assert not ReadingTracker(Reading(0, 0)).is_bounded()
    assert ReadingTracker(Reading(0, 0)).current_progress().remaining_work > 0


@given(claims=st.lists(st.integers(1, 1000), max_size=20), split_after=st.integers(0, 20))
def test_what_was_claimed_and_the_rest_tile_the_partition(claims: list[int], split_after: int) -> None:
    tracker = ReadingTracker(Reading(0, 0))
    position = 0
    rest = None
    for number, length in enumerate(claims):
        if number == split_after:
            rest = tracker.try_split(0)
        if not tracker.try_claim(position + length):
            break
        position += length
    rest = rest or tracker.try_split(0)
    assert rest is not None
    assert rest[1].position == position
