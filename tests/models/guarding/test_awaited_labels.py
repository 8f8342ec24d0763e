from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.columns.labels import Label
from models.columns.outputs import RecordOutputs
from models.columns.scored import ModelCall, ScoredRecords
from models.guarding.awaited_labels import AwaitedLabels
from models.status.arm_tallies import ArmStatistics, ArmTallies, Key

KEY: Key = ("m", 7, "canary")


class Answers:
    """The labels and the tallies of one worker."""

    def __init__(self, remembered: int = 100_000) -> None:
        self.tallies = ArmTallies()
        self.labels = AwaitedLabels(self.tallies.labelled, remembered)

    def answer(self, offsets: Iterable[int], value: float, key: Key = KEY) -> None:
        rows = np.array(list(offsets), np.int64)
        outputs = RecordOutputs({"y": np.full(len(rows), value)}, None)
        scored = ScoredRecords(rows, ModelCall(None, 0, 1, len(rows)), outputs)
        self.labels.remember(key, scored, [where(one) for one in rows.tolist()], 0.001)

    def seen(self, key: Key = KEY) -> ArmStatistics:
        known = {(one.data_type, one.route, one.arm): one for one in self.tallies.changes()}
        return known.get(key, ArmStatistics(*key))


def where(offset: int) -> bytes:
    return f"records-0-{offset}".encode()


def test_labels_are_counted_for_the_arm_that_has_answered() -> None:
    answers = Answers()
    answers.answer([1, 2, 3], 5.0)
    assert [answers.labels.add(where(one), Label(value)) for one, value in ((1, 5), (3, 7.5))] == ["counted"] * 2
    assert answers.seen() == ArmStatistics(*KEY, labels=2, correct=1, numbers=2, deviation=2.5, squared_deviation=6.25)


def test_a_label_that_is_unknown_repeated_late_or_of_another_kind_changes_nothing_and_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers = Answers()
    answers.answer([1, 2], 5.0)
    answers.answer([3, 4], 5.0, ("m", 9, "canary"))
    assert answers.labels.add(where(3), Label(5)) == "counted"
    before = answers.seen(("m", 9, "canary"))
    assert answers.labels.add(where(8), Label(5)) == "unknown"
    assert answers.labels.add(where(3), Label(6)) == "duplicate"
    assert answers.labels.add(where(1), Label(5)) == "late"
    assert answers.labels.add(where(4), Label("five")) == "incomparable"
    assert answers.tallies.changes() == []
    assert before.labels == 1
    assert answers.labels.outcomes == Counter(counted=1, unknown=1, duplicate=1, late=1, incomparable=1)
    assert "the label of record records-0-4 cannot be compared" in caplog.text


def test_a_record_that_is_scored_again_is_not_labelled_twice() -> None:
    answers = Answers()
    answers.answer([1], 5.0)
    answers.labels.add(where(1), Label(5))
    answers.answer([1], 5.0)
    assert answers.labels.add(where(1), Label(5)) == "duplicate"
    assert answers.seen().labels == 1


def test_records_without_an_answer_wait_for_no_label() -> None:
    answers = Answers()
    answers.labels.remember(KEY, ScoredRecords(np.array([1]), ModelCall(None, 0, 1, 1, "broken"), None), [where(1)], 0)
    assert answers.labels.add(where(1), Label(5)) == "unknown"


@given(st.lists(st.tuples(st.sampled_from(["answer", "label"]), st.integers(0, 12)), max_size=60))
def test_only_the_first_label_of_each_remembered_answer_counts(steps: list[tuple[str, int]]) -> None:
    answers, known, counted = Answers(remembered=5), dict[int, bool](), 0
    for what, offset in steps:
        if what == "answer":
            answers.answer([offset], 1.0)
            known[offset] = known.pop(offset, False)
            while len(known) > 5:
                del known[next(iter(known))]
        elif answers.labels.add(where(offset), Label(1)) == "counted":
            assert known[offset] is False
            known[offset] = True
            counted += 1
        else:
            assert known.get(offset) is not False
    assert answers.seen().labels == counted
