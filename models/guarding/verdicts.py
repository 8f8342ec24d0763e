"""Verdicts: whether a candidate moves forward, goes back, or needs more records."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from models.model_topic.guardrails import Guardrails
from models.status.arm_tallies import ArmStatistics

Decision = Literal["forward", "back"]

# Before a candidate has its minimum of records, it is removed only if chance alone would explain its figures in fewer
# than one case in 30,000.
_DEVIATIONS = 4.0
_LEAST_RECORDS = 20

# A candidate is slow if more than this share of its batches is, with a certainty of 97.7 %.
_SLOW_SHARE = 0.1
_SLOW_DEVIATIONS = 2.0


@dataclass(frozen=True)
class Verdict:
    """The decision on a candidate, and the reason with the figures."""

    decision: Decision
    reason: str


def judge(limits: Guardrails, seen: ArmStatistics) -> Verdict | None:
    """Judges a candidate by its figures since its last step; returns None if more records are needed.

    With fewer than `limits.min_records` records it can only be removed, and only if its figures cannot be explained by
    chance (the bound of a Wilson score interval). With enough records, the figures themselves decide. The same applies
    to labels and `limits.min_labels`, if there are limits for labels.
    """
    enough = seen.records >= limits.min_records and (seen.compared > 0 or seen.errors == seen.records)
    broken = _broken(limits, seen, 0.0 if enough else _DEVIATIONS) or _contradicted(limits, seen)
    if broken:
        return Verdict("back", f"{broken}; {_figures(seen)}")
    return Verdict("forward", _figures(seen)) if enough and _has_labels(limits, seen) else None


def _has_labels(limits: Guardrails, seen: ArmStatistics) -> bool:
    """Whether there are enough labels for each limit that needs them."""
    if limits.min_accuracy is not None and seen.labels < limits.min_labels:
        return False
    return limits.max_mean_error is None or seen.numbers >= limits.min_labels


def _contradicted(limits: Guardrails, seen: ArmStatistics) -> str | None:
    """The first limit that is broken according to the labels; None if there is none."""
    if limits.min_accuracy is not None and seen.labels >= min(limits.min_labels, _LEAST_RECORDS):
        deviations = 0.0 if seen.labels >= limits.min_labels else _DEVIATIONS
        if _bound(seen.correct, seen.labels, deviations) < limits.min_accuracy:
            return f"less than {100 * limits.min_accuracy:g} % accuracy"
    if limits.max_mean_error is not None and seen.numbers >= min(limits.min_labels, _LEAST_RECORDS):
        deviations = 0.0 if seen.numbers >= limits.min_labels else _DEVIATIONS
        if _least_mean(seen, deviations) > limits.max_mean_error:
            return f"a mean error of more than {limits.max_mean_error:g}"
    return None


def _least_mean(seen: ArmStatistics, deviations: float) -> float:
    """The mean error, less `deviations` times its standard error."""
    mean = seen.deviation / seen.numbers
    variance = max(0.0, seen.squared_deviation / seen.numbers - mean * mean)
    return mean - deviations * math.sqrt(variance / seen.numbers)


def _broken(limits: Guardrails, seen: ArmStatistics, deviations: float) -> str | None:
    """The first limit that is certainly broken; None if there is none."""
    if seen.records >= _LEAST_RECORDS and _bound(seen.errors, seen.records, -deviations) > limits.max_errors:
        return f"more than {100 * limits.max_errors:g} % errors"
    if seen.compared >= _LEAST_RECORDS and _bound(seen.agreeing, seen.compared, deviations) < limits.min_agreement:
        return f"less than {100 * limits.min_agreement:g} % agreement"
    if not deviations and seen.slowdown > limits.max_slowdown and _often_slow(seen):
        return f"more than {limits.max_slowdown:g} times the time"
    return None


def _often_slow(seen: ArmStatistics) -> bool:
    """Whether certainly more than a tenth of the batches were slow; unlike the sums, one pause cannot decide this."""
    return seen.timed > 0 and _bound(seen.slow, seen.timed, -_SLOW_DEVIATIONS) > _SLOW_SHARE


def _bound(hits: int, trials: int, deviations: float) -> float:
    """The bound of the Wilson score interval `deviations` standard deviations above the share, or below if negative."""
    share, z = hits / trials, abs(deviations)
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return (centre + math.copysign(spread, deviations)) / (1 + z * z / trials)


def _figures(seen: ArmStatistics) -> str:
    errors = 100 * seen.errors / seen.records if seen.records else 0.0
    agreement = f"{100 * seen.agreeing / seen.compared:.3g} % agreement" if seen.compared else "nothing compared"
    figures = f"{seen.records} records, {errors:.3g} % errors, {agreement}, {seen.slowdown:.2g} times the time"
    return figures + _labels(seen)


def _labels(seen: ArmStatistics) -> str:
    if not seen.labels:
        return ""
    mean = f", mean error {seen.deviation / seen.numbers:.3g}" if seen.numbers else ""
    return f", {seen.labels} labels, {100 * seen.correct / seen.labels:.3g} % accuracy{mean}"
