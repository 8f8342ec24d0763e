"""The limits that a candidate must keep in a rehearsal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from models.rehearsal.comparison import Comparison, Performance


@dataclass(frozen=True)
class Limits:
    """The limits of a rehearsal.

    Attributes:
      errors: the largest share of records that the candidate may answer with an error, NaN or infinity, from 0 to 1.
      agreement: the smallest share of records for which the candidate must agree with the live model, from 0 to 1.
      shift: the largest population stability index of an output.
      slowdown: the largest ratio of the candidate's median call duration to the live model's.
    """

    errors: float = 0.01
    agreement: float = 0.95
    shift: float = 0.2
    slowdown: float = 2.0


@dataclass(frozen=True)
class Rehearsal:
    """The result of a rehearsal.

    Attributes:
      candidate, against: NAME/VERSION of the candidate and of the live model; None if there is none.
      data_type: the data type of the records.
      malformed: the number of records that could not be decoded, and were skipped.
      non_finite_allowed: whether the candidate may answer NaN or infinity.
      performance: the figures of the candidate.
      live_performance, comparison: the figures of the live model, and the comparison; None without a live model.
    """

    candidate: str
    against: str | None
    data_type: str
    malformed: int
    non_finite_allowed: bool
    performance: Performance
    live_performance: Performance | None = None
    comparison: Comparison | None = None

    @property
    def error_share(self) -> float:
        """The share of records that the candidate answered with an error or, unless allowed, with NaN or infinity."""
        bad = self.performance.errors + (0 if self.non_finite_allowed else self.performance.non_finite)
        return bad / self.performance.records

    @property
    def slowdown(self) -> float | None:
        """The ratio of the candidate's median call duration to the live model's; None if either did not answer."""
        live = self.live_performance
        if live is None or not live.p50 or not self.performance.p50:
            return None
        return self.performance.p50 / live.p50


def broken_limits(rehearsal: Rehearsal, limits: Limits) -> Iterator[str]:
    """A sentence for each limit that the candidate exceeds."""
    if rehearsal.error_share > limits.errors:
        yield (
            f"{rehearsal.error_share:.2%} of the records have an error, NaN or infinity; --max-errors allows "
            f"{limits.errors:.2%}"
        )
    comparison, slowdown = rehearsal.comparison, rehearsal.slowdown
    if comparison is not None:
        if comparison.records and comparison.agreement < limits.agreement:
            yield (
                f"{rehearsal.candidate} agrees with {rehearsal.against} on {comparison.agreement:.2%} of the "
                f"records; --min-agreement requires {limits.agreement:.2%}"
            )
        for output in comparison.outputs:
            if output.shift > limits.shift:
                yield (
                    f"the distribution of output {output.name!r} has shifted by {output.shift:.3g}; --max-shift allows "
                    f"{limits.shift:g}"
                )
    if slowdown is not None and slowdown > limits.slowdown:
        yield (
            f"a call takes {slowdown:.3g} times as long as one of {rehearsal.against}; --max-slowdown allows "
            f"{limits.slowdown:g}"
        )
