"""What workers explain, and where explanations go."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ExplanationSettings:
    """What workers explain, and where explanations go.

    Attributes:
      topic: the topic of explanations.
      share: the share of the records whose answers are explained, above 0 and up to 1.
      output: the name of the output to explain; None for the first one of floating-point numbers.
    """

    topic: str
    share: float
    output: str | None = None
