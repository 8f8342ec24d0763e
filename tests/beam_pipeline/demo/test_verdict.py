from __future__ import annotations

from dataclasses import replace

import pytest

from beam_pipeline.demo.snapshot import Refusal, Snapshot, VersionLine
from beam_pipeline.demo.verdict import shortcomings

WEAK = VersionLine(1, "weak", records=10, accuracy=0.4)
GOOD = VersionLine(2, "good", records=10, accuracy=0.6)
BROKEN = VersionLine(3, "broken", state="refused")
NONE = VersionLine(None, records=5)
GONE_WELL = Snapshot(
    45.0,
    sent=25,
    answered=25,
    malformed_sent=5,
    dead_records=5,
    malformed_descriptors_sent=1,
    dead_descriptors=1,
    versions=(NONE, WEAK, GOOD, BROKEN),
    refusals=(Refusal(3, "its variables are missing", 2, 20.0),),
)


def test_nothing_is_wrong_with_a_run_that_went_well() -> None:
    assert shortcomings(GONE_WELL, 1) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (replace(GONE_WELL, waiting=2), "2 records have no result"),
        (replace(GONE_WELL, errors=1), "could not be scored"),
        (replace(GONE_WELL, dead_records=4), "4 dead letters for 5 malformed records"),
        (replace(GONE_WELL, dead_descriptors=0), "0 dead letters for 1 malformed descriptors"),
        (replace(GONE_WELL, refusals=()), "no broken model was refused"),
        (replace(GONE_WELL, refusals=(*GONE_WELL.refusals, Refusal(2, "?", 1, 9.0))), "a sound model was refused"),
        (replace(GONE_WELL, versions=(WEAK, GOOD, BROKEN)), "there was no result without a model"),
        (replace(GONE_WELL, versions=(NONE, GOOD, BROKEN)), "the weak model did not score any record"),
        (replace(GONE_WELL, versions=(NONE, WEAK, BROKEN)), "the good model did not score any record"),
        (
            replace(GONE_WELL, versions=(NONE, WEAK, replace(GOOD, accuracy=0.3), BROKEN)),
            "not better than the weak model",
        ),
        (replace(GONE_WELL, versions=(NONE, WEAK, GOOD, replace(BROKEN, records=1))), "appears to have scored"),
    ],
)
def test_each_shortcoming_is_reported(wrong: Snapshot, said: str) -> None:
    assert said in "\n".join(shortcomings(wrong, 1))


def test_of_a_pass_that_was_cut_short_only_losses_are_judged() -> None:
    early = Snapshot(3.0, sent=10, answered=10, versions=(NONE,))
    assert shortcomings(early, 0) == []
    assert shortcomings(replace(early, waiting=1), 0) == ["1 records have no result"]
    assert shortcomings(Snapshot(3.0), 0) == ["there was no result"]
