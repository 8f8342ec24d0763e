"""A small version of the campaign of good and bad models against admission and the guard (`tests.campaigns guard`)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from models.model_topic.guardrails import Guardrails
from tests.campaigns.guarded_candidates import Outcome, Subject, bad_subjects, good_subjects, places, run
from tests.saved_models import save_grading_model

# These candidates have half a dozen calls, of which one may be put off on a busy machine: no good one is to look slow.
LIMITS = Guardrails((0.1, 1.0), min_records=1_000, max_slowdown=1e6)
TIMED = replace(LIMITS, max_slowdown=10.0)
SLOW = Subject("slow", "2 s a call", lambda path: save_grading_model(path, delay=2.0))


def test_bad_models_are_stopped_and_good_ones_get_all_records(tmp_path: Path) -> None:
    bad = [SLOW if one.kind == "slow" else one for one in bad_subjects(6, 1)]
    assert [one.kind for one in bad] == ["wrong signature", "NaN", "slow", "crashing", "constant", "shifted"]
    outcome = run(bad, tmp_path / "bad", limits=TIMED)
    good = run(good_subjects(4, 1), tmp_path / "good", limits=LIMITS)
    print(f"\n{outcome}\n{good}")
    assert outcome.missed == []
    assert good.false_alarms == []
    found = places(outcome)
    assert found["wrong signature"] == {"publish"}
    assert found["slow"] == found["constant"] == found["shifted"] == {"guard"}
    assert all(0 < one.touched <= 1_500 for one in outcome.fates if one.where == "guard")


def test_workers_refuse_what_the_command_would_have_refused(tmp_path: Path) -> None:
    outcome = run(bad_subjects(1, 1), tmp_path, limits=LIMITS, unchecked=True)
    assert [(one.where, one.touched) for one in outcome.fates] == [("admission", 0)]
    assert "model input 'text'" in outcome.fates[0].reason


@pytest.mark.parametrize(
    ("kind", "shown"), [("good", "missed: 0; false alarms: 1"), ("bad", "missed: 1; false alarms: 0")]
)
def test_the_campaign_notices_what_must_not_be(tmp_path: Path, kind: str, shown: str) -> None:
    """The live model itself is declared bad, and one that differs is declared good."""
    shift = 1.0 if kind == "good" else 0.0
    outcome = run([Subject(kind, "", lambda path: save_grading_model(path, shift))], tmp_path, limits=LIMITS)
    assert isinstance(outcome, Outcome)
    assert shown in str(outcome)
