"""Drift events, as messages of the drift topic."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from models.observing.drift.measures import Figure, Measure
from models.observing.drift.profile import FieldKind

EventKind = FieldKind | Literal["accuracy"]


@dataclass(frozen=True)
class FieldFigure:
    """A figure of a field.

    Attributes:
      kind: what the field is: a feature, an output, the confidence of an output of class scores, or the accuracy.
      field: the name of the field or output; empty for the accuracy.
      figure: the figure.
    """

    kind: EventKind
    field: str
    figure: Figure


@dataclass(frozen=True)
class Window:
    """The window that was judged.

    Attributes:
      start, end: milliseconds since 1970-01-01 UTC; several windows with few records count as one.
      records: the number of sampled records.
    """

    start: int
    end: int
    records: int


@dataclass(frozen=True)
class DriftEvent:
    """A field of a model differs from the baseline, and did not in the window before.

    Attributes:
      at: the end of the window, in milliseconds since 1970-01-01 UTC.
      deployment: the name of the deployment, which is its consumer group.
      model, version: the version; 0 if a server did not name it.
      field, kind: as in `FieldFigure`.
      measure, value, limit: as in `models.observing.drift.measures.Figure`.
      window: the window.
      baseline_records: the number of records of the baseline.
    """

    at: int
    deployment: str
    model: str
    version: int
    field: str
    kind: EventKind
    measure: Measure
    value: float
    limit: float
    window: Window
    baseline_records: int

    @property
    def key(self) -> bytes:
        """The key of the message, by which a compacted topic keeps the newest event of each field."""
        return f"{self.deployment}/{self.model}/{self.version}/{self.kind}/{self.field}/{self.measure}".encode()

    def to_json(self) -> bytes:
        """The event as a message."""
        return json.dumps(asdict(self), ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, message: bytes) -> DriftEvent:
        """The event in a message; raises ValueError when it is not one."""
        try:
            content: dict[str, Any] = json.loads(message)
            return cls(**{**content, "window": Window(**content["window"])})
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a drift event: {error}") from error
