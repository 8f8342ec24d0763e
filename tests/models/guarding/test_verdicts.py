from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import RouteError
from models.guarding.guard import ReportedStatistics, next_generation
from models.guarding.verdicts import Verdict, judge
from models.model_topic.guardrails import Guardrails
from models.model_topic.route import Arm, Generation, Segment
from models.model_topic.route_changes import promoted, with_canary
from models.status.arm_tallies import ArmStatistics
from models.status.events import StatusEvent

LIMITS = Guardrails(min_records=1_000, max_errors=0.02, min_agreement=0.9, max_slowdown=2.0)


def seen(
    records: int, errors: int = 0, agreeing: int | None = None, slowdown: float = 1.0, slow: int = 0
) -> ArmStatistics:
    compared = records - errors
    agreeing = compared if agreeing is None else agreeing
    return ArmStatistics("m", 7, "canary", records, errors, compared, agreeing, slowdown * 100, 100.0, 50, slow)


def decision(statistics: ArmStatistics, limits: Guardrails = LIMITS) -> str | None:
    verdict = judge(limits, statistics)
    return None if verdict is None else verdict.decision


def test_a_good_candidate_moves_forward_when_it_has_its_records() -> None:
    assert decision(seen(999)) is None
    assert decision(seen(1_000)) == "forward"
    verdict = judge(LIMITS, seen(1_000, errors=5, agreeing=980, slowdown=1.25))
    assert verdict is not None
    assert verdict.reason == "1000 records, 0.5 % errors, 98.5 % agreement, 1.2 times the time"


@pytest.mark.parametrize(
    ("statistics", "reason"),
    [
        (seen(1_000, errors=21), "more than 2 % errors"),
        (seen(1_000, agreeing=899), "less than 90 % agreement"),
        (seen(1_000, slowdown=2.1, slow=25), "more than 2 times the time"),
        (ArmStatistics("m", 7, "canary", 1_000, 1_000), "more than 2 % errors"),
    ],
)
def test_a_broken_limit_takes_it_out_and_says_which(statistics: ArmStatistics, reason: str) -> None:
    verdict = judge(LIMITS, statistics)
    assert verdict is not None
    assert verdict.decision == "back"
    assert verdict.reason.startswith(reason)


@pytest.mark.parametrize(
    ("timed", "slow", "wanted"), [(50, 1, "forward"), (50, 20, "back"), (5, 1, "forward"), (5, 5, "back")]
)
def test_a_pause_in_few_batches_does_not_make_a_candidate_slow(timed: int, slow: int, wanted: str) -> None:
    assert decision(replace(seen(1_000, slowdown=9.0), timed=timed, slow=slow)) == wanted


@pytest.mark.parametrize("statistics", [seen(40, errors=40), seen(60, agreeing=20)])
def test_what_chance_does_not_explain_takes_it_out_early(statistics: ArmStatistics) -> None:
    assert decision(statistics) == "back"


@pytest.mark.parametrize("statistics", [seen(0), seen(19, errors=19), seen(60, errors=3), seen(60, agreeing=52)])
def test_what_chance_explains_takes_more_records(statistics: ArmStatistics) -> None:
    assert decision(statistics) is None


def test_nothing_moves_forward_that_was_never_compared() -> None:
    assert decision(ArmStatistics("m", 7, "canary", 5_000)) is None


LABELLED = replace(LIMITS, min_accuracy=0.8, max_mean_error=0.5, min_labels=200)


def labelled(labels: int, correct: int, mean_error: float = 0.1, records: int = 1_000) -> ArmStatistics:
    found = replace(seen(records), labels=labels, correct=correct, numbers=labels)
    return replace(found, deviation=labels * mean_error, squared_deviation=2 * labels * mean_error**2)


def test_a_candidate_waits_for_its_labels() -> None:
    assert decision(labelled(0, 0), LABELLED) is None
    assert decision(labelled(199, 199), LABELLED) is None
    assert decision(replace(labelled(200, 200), numbers=199), LABELLED) is None
    assert decision(labelled(200, 200, records=999), LABELLED) is None
    verdict = judge(LABELLED, labelled(200, 170))
    assert verdict is not None
    assert verdict.decision == "forward"
    assert verdict.reason.endswith("1 times the time, 200 labels, 85 % accuracy, mean error 0.1")


@pytest.mark.parametrize(
    ("statistics", "reason"),
    [
        (labelled(200, 159), "less than 80 % accuracy"),
        (labelled(200, 200, 0.51), "a mean error of more than 0.5"),
        (labelled(30, 5), "less than 80 % accuracy"),
        (labelled(30, 30, 5.0), "a mean error of more than 0.5"),
        (labelled(30, 5, records=40), "less than 80 % accuracy"),
        (replace(labelled(0, 0), agreeing=899), "less than 90 % agreement"),
    ],
)
def test_labels_take_a_candidate_out_early_or_with_its_records(statistics: ArmStatistics, reason: str) -> None:
    verdict = judge(LABELLED, statistics)
    assert verdict is not None
    assert verdict.decision == "back"
    assert verdict.reason.startswith(reason)


@pytest.mark.parametrize("statistics", [labelled(19, 0), labelled(30, 22), labelled(30, 30, 0.55)])
def test_labels_that_chance_explains_take_more_of_them(statistics: ArmStatistics) -> None:
    assert decision(statistics, LABELLED) is None


def test_labels_do_not_matter_without_a_limit() -> None:
    assert decision(labelled(200, 0, 100.0)) == "forward"


def judged_along(error_share: float, agreement: float, seed: int) -> tuple[str, int]:
    """The fate of a candidate with these true shares, and the number of its records until then."""
    chance = np.random.default_rng(seed)
    errors = chance.random(LIMITS.min_records) < error_share
    agreeing = chance.random(LIMITS.min_records) < agreement
    for records in range(25, LIMITS.min_records + 1, 25):  # as often as workers report
        failed = int(errors[:records].sum())
        verdict = judge(LIMITS, seen(records, failed, int((agreeing & ~errors)[:records].sum())))
        if verdict is not None:
            return verdict.decision, records
    raise AssertionError("no verdict")


def test_of_a_hundred_good_candidates_none_is_taken_out_and_of_a_hundred_bad_ones_all_are_and_soon() -> None:
    good = [judged_along(0.005, 0.97, seed) for seed in range(100)]
    assert {what for what, _ in good} == {"forward"}
    failing = [judged_along(0.5, 1.0, seed) for seed in range(100)]
    differing = [judged_along(0.0, 0.5, seed) for seed in range(100)]
    assert {what for what, _ in (*failing, *differing)} == {"back"}
    assert max(records for _, records in (*failing, *differing)) <= 100


# --- Consequences.


def canary(share: float = 0.01, steps: tuple[float, ...] = (0.01, 0.5, 1.0)) -> Generation:
    limits = replace(LIMITS, steps=steps)
    return replace(with_canary(promoted(None, "m", 1), "m", 2, share, limits), offset=7)


def shares(generation: Generation) -> dict[str, float]:
    return {f"{arm.name} {arm.label}": arm.weight for arm in generation.arms}


def test_a_candidate_goes_from_step_to_step_until_it_serves() -> None:
    forward = Verdict("forward", "fine")
    second = next_generation(canary(), canary().arms[1], forward)
    assert shares(second) == {"live m/1": 0.5, "canary m/2": 0.5}
    assert second.note == "m/2 from 1 % to 50 %: fine"
    assert second.arms[1].guardrails == canary().arms[1].guardrails
    last = next_generation(second, second.arms[1], forward)
    assert shares(last) == {"live m/2": 1.0}
    assert last.note == "m/2 from 50 % to 100 %: fine"


def test_a_candidate_that_is_taken_out_leaves_the_others() -> None:
    after = next_generation(canary(), canary().arms[1], Verdict("back", "less than 90 % agreement"))
    assert shares(after) == {"live m/1": 0.99}
    assert after.note == "m/2 taken out: less than 90 % agreement"


@pytest.mark.parametrize(
    "limits",
    [
        {"steps": ()},
        {"steps": (0.1, 0.5)},
        {"steps": (0.5, 0.1, 1.0)},
        {"steps": (0.0, 1.0)},
        {"min_records": 0},
        {"max_errors": 1.1},
        {"min_agreement": -0.1},
        {"max_slowdown": 0.0},
        {"min_accuracy": 1.1},
        {"max_mean_error": -1.0},
        {"max_mean_error": float("nan")},
        {"min_labels": 0},
    ],
)
def test_guardrails_that_contradict_themselves_are_refused(limits: dict[str, object]) -> None:
    with pytest.raises(RouteError):
        Guardrails(**limits)  # type: ignore[arg-type]


def test_only_one_candidate_of_a_route_without_segments_can_be_guarded() -> None:
    arms = Arm("live", "m", 1), Arm("a", "m", 2, 1.0, "candidate", guardrails=LIMITS)
    with pytest.raises(RouteError, match="only such arm"):
        Generation((Segment((*arms, replace(arms[1], name="b"))),))
    with pytest.raises(RouteError, match="cannot have segments"):
        Generation((Segment(arms, "x > 1"), Segment(arms[:1])))
    with pytest.raises(RouteError, match="only a candidate"):
        Arm("a", "m", 2, guardrails=LIMITS)


# --- Reports of workers.

COUNTS = st.integers(0, 1_000)


@given(st.lists(st.tuples(st.sampled_from("abc"), COUNTS, COUNTS), max_size=10))
def test_the_newest_statistics_of_each_worker_are_added_up(reports: list[tuple[str, int, int]]) -> None:
    reported, newest = ReportedStatistics("group"), {}
    for worker, records, asked in reports:
        errors = min(records, asked)
        one = ArmStatistics("m", 7, "canary", records, errors)
        event = StatusEvent.of_candidate(one, worker, "group")
        reported.add(StatusEvent.from_json(event.to_json()))
        reported.add(replace(event, deployment="another"))
        newest[worker] = records, errors
    total = reported.total(("m", 7, "canary"))
    assert (total.records, total.errors) == tuple(map(sum, zip(*newest.values(), strict=True))) or not newest
    reported.keep(set())
    assert reported.total(("m", 7, "canary")).records == 0
