"""Guardrails: the limits that a candidate must keep, and the steps in which it gets more records.

A guard (`models.guarding.guard`) reads them, and advances or removes the candidate.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import RouteError

STEPS = (0.01, 0.1, 0.5, 1.0)


@dataclass(frozen=True)
class Guardrails:
    """The limits of a candidate.

    Attributes:
      steps: the successive shares of records that it gets, ascending, above 0. The last one is 1: the candidate then
        serves, and is no longer a candidate.
      min_records: the number of records that it must answer before its next step.
      max_errors: the largest share of records that it may fail to answer.
      min_agreement: the smallest share of records on which it agrees with the arm that serves, on the same records.
      max_slowdown: the largest ratio of its duration to that arm's for the same records, in total and in nine of ten
        batches.
      tolerance: the difference up to which numbers agree, both absolute and relative to the number of the serving
        arm or of the label.
      min_accuracy: the smallest share of labels that its answers must match; None to ignore labels.
      max_mean_error: the largest mean absolute error against the labels; None to ignore it.
      min_labels: if one of these two is given, the number of labels that it needs before its next step.
    """

    steps: tuple[float, ...] = STEPS
    min_records: int = 1_000
    max_errors: float = 0.01
    min_agreement: float = 0.9
    max_slowdown: float = 3.0
    tolerance: float = 1e-3
    min_accuracy: float | None = None
    max_mean_error: float | None = None
    min_labels: int = 100

    def __post_init__(self) -> None:
        if not self.steps or list(self.steps) != sorted(set(self.steps)) or self.steps[0] <= 0 or self.steps[-1] != 1:
            raise RouteError(f"the steps of a candidate must ascend from above 0 to 1, not {list(self.steps)}")
        if self.min_records < 1:
            raise RouteError(f"min_records of a candidate must be at least 1, not {self.min_records}")
        if self.min_labels < 1:
            raise RouteError(f"min_labels of a candidate must be at least 1, not {self.min_labels}")
        accuracy = 0.0 if self.min_accuracy is None else self.min_accuracy
        shares = {"max_errors": self.max_errors, "min_agreement": self.min_agreement, "min_accuracy": accuracy}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise RouteError(f"{name} of a candidate must be a share from 0 to 1, not {share}")
        if not (self.max_slowdown > 0 and self.tolerance >= 0):
            raise RouteError("max_slowdown of a candidate must be above 0, and its tolerance at least 0")
        if self.max_mean_error is not None and not self.max_mean_error >= 0:
            raise RouteError(f"max_mean_error of a candidate must be at least 0, not {self.max_mean_error}")

    @property
    def needs_labels(self) -> bool:
        """Whether labels from the feedback topic count, too."""
        return self.min_accuracy is not None or self.max_mean_error is not None

    def next_step(self, share: float) -> float:
        """The first step above a share; 1 if there is none.

        >>> Guardrails().next_step(0.1)
        0.5
        """
        return next((step for step in self.steps if step > share + 1e-9), 1.0)
