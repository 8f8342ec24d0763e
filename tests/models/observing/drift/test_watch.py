"""A version that is watched: its baseline, its windows, false alarms on unchanged data, and the detection of shifts."""

from __future__ import annotations

from typing import Any

import pytest

from models.observing.drift.policy import DriftPolicy
from models.observing.drift.profile import Profile, merged
from models.observing.drift.watch import Judged, ModelWatch, compare_profiles
from tests.models.observing.drift.samples import Stream

POLICY = DriftPolicy(60, 500)


class Clock:
    """Adds windows to a watch, one after the other, and has them judged."""

    def __init__(self, watch: ModelWatch) -> None:
        self.watch = watch
        self.start = 0

    def window(self, *profiles: Profile) -> list[Judged]:
        for profile in profiles:
            self.watch.add(self.start, profile)
        self.start += self.watch.policy.milliseconds
        return list(self.watch.judge(self.start + self.watch.policy.grace))


def watched(stream: Stream, records: int = 3_000) -> Clock:
    """A version with a baseline of its first windows."""
    clock = Clock(ModelWatch(POLICY))
    while clock.watch.baseline is None:
        clock.window(stream.profile(records // 2), stream.profile(records // 2))
    return clock


def began(judged: list[Judged]) -> set[tuple[str, str, str]]:
    return {(one.kind, one.field, one.figure.measure) for each in judged for one in each.began}


def test_the_first_windows_are_the_baseline_and_none_of_them_is_judged() -> None:
    stream, clock = Stream(0), Clock(ModelWatch(POLICY))
    for _ in range(5):
        assert clock.watch.baseline is None
        (judged,) = clock.window(stream.profile(600), stream.profile(500))
        assert judged.figures == () and judged.window.records == 1100
    assert clock.watch.baseline is not None and clock.watch.baseline.records == 5500


@pytest.mark.parametrize("records", [500, 3_000])
def test_unchanged_data_raises_no_alarm(records: int) -> None:
    stream = Stream(records)
    clock = watched(stream, records)
    for _ in range(100):
        assert began(clock.window(stream.profile(records))) == set()


SHIFTS: list[tuple[dict[str, Any], str, str]] = [
    ({"mean": 0.2}, "number", "ks"),
    ({"mean": -0.3}, "number", "ks"),
    ({"deviation": 1.5}, "number", "ks"),
    ({"deviation": 0.6}, "number", "psi"),
    ({"nulls": 0.05}, "number", "nulls"),
    ({"new_colour": 0.02}, "colour", "unseen"),
]


@pytest.mark.parametrize(("shift", "field", "measure"), SHIFTS, ids=[str(one[0]) for one in SHIFTS])
def test_a_shift_is_found_in_its_first_window_and_reported_once(
    shift: dict[str, Any], field: str, measure: str
) -> None:
    stream = Stream(7)
    clock = watched(stream)
    assert began(clock.window(stream.profile(3_000))) == set()
    found = began(clock.window(stream.profile(3_000, **shift)))
    assert ("feature", field, measure) in found
    assert {name for _, name, _ in found} == {field}
    assert ("feature", field, measure) not in began(clock.window(stream.profile(3_000, **shift)))
    clock.window(stream.profile(3_000))
    assert ("feature", field, measure) in began(clock.window(stream.profile(3_000, **shift))), "after it had ended"


def test_windows_with_few_records_are_judged_together() -> None:
    stream = Stream(2)
    clock = watched(stream)
    begins = clock.start
    assert [clock.window(stream.profile(200)) for _ in range(2)] == [[], []]
    (judged,) = clock.window(stream.profile(200))
    assert (judged.window.start, judged.window.end, judged.window.records) == (begins, clock.start, 600)


def test_a_profile_that_comes_after_its_window_was_judged_is_left_out() -> None:
    stream = Stream(3)
    clock = watched(stream)
    clock.watch.add(clock.start - POLICY.milliseconds, stream.profile(3_000, mean=5))
    assert clock.watch.late == 1
    assert began(clock.window(stream.profile(3_000))) == set()


def test_a_window_waits_for_the_sketches_of_other_workers() -> None:
    watch = ModelWatch(POLICY, Stream(4).profile(5_000))
    watch.add(0, Stream(5).profile(600))
    assert list(watch.judge(POLICY.milliseconds + POLICY.grace - 1)) == []
    watch.add(0, Stream(6).profile(600))
    (judged,) = watch.judge(POLICY.milliseconds + POLICY.grace)
    assert judged.window.records == 1200


def test_a_falling_accuracy_is_found_and_its_baseline_are_the_first_labels() -> None:
    stream = Stream(8)
    clock = watched(stream)

    def labelled(correct: int) -> Profile:
        profile = stream.profile(3_000)
        profile.labels, profile.correct = 300, correct
        return profile

    for correct in (270, 275, 265, 272):
        assert began(clock.window(labelled(correct))) == set()
    assert clock.watch.baseline is not None and clock.watch.baseline.labels == 600
    assert began(clock.window(labelled(180))) == {("accuracy", "", "accuracy")}


def test_a_profile_survives_its_journey() -> None:
    whole = Stream(9).profile(5_000)
    parts = [Profile.from_bytes(one.to_bytes()) for one in whole.parts(2)]
    assert len(parts) == 3 and parts[1].records == 0
    (before, after) = (list(compare_profiles(whole, one, POLICY)) for one in (whole, merged(parts)))
    assert before == after and len(before) == 13
    with pytest.raises(ValueError, match="not a profile"):
        Profile.from_json({"records": 1})
