"""The last drift events: what differs from the baseline, of which model, by how much."""

from __future__ import annotations

import json
import math
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from confluent_kafka import Message

from models.text import clean_text

MOST_EVENTS = 100
_TEXT_LIMIT = 120


@dataclass(frozen=True)
class DriftEvent:
    """A message of the drift topic.

    Attributes:
      at: the end of the window in which it was found, in milliseconds since 1970-01-01 UTC.
      model, version: the version whose input or output drifts.
      field: the feature or output.
      kind: what was compared, such as feature, output or accuracy.
      measure: how it was compared, such as psi or ks.
      value: the figure.
      limit: the figure that it exceeds.
    """

    at: int
    model: str
    version: int
    field: str
    kind: str
    measure: str
    value: float
    limit: float

    @classmethod
    def from_json(cls, message: bytes) -> DriftEvent:
        """The event in a message; fields that it does not know are ignored.

        Raises:
          ValueError: the message is not a drift event.
        """
        try:
            found = json.loads(message)
            texts = {name: found[name] for name in ("model", "field", "kind", "measure")}
            if not all(isinstance(one, str) for one in texts.values()):
                raise TypeError("a name is not text")
            figures = float(found["value"]), float(found["limit"])
            if not all(map(math.isfinite, figures)):
                raise ValueError("a figure is not finite")
            named = {name: clean_text(text, _TEXT_LIMIT) for name, text in texts.items()}
            return cls(at=int(found["at"]), version=int(found["version"]), value=figures[0], limit=figures[1], **named)
        except (TypeError, KeyError, OverflowError, RecursionError) as error:
            raise ValueError(f"not a drift event: {error}") from error


class Drift:
    """Takes drift events, and keeps the last ones. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: deque[DriftEvent] = deque(maxlen=MOST_EVENTS)
        self.malformed = 0

    def take(self, messages: Sequence[Message]) -> None:
        """Adds the events in these messages."""
        for message in messages:
            try:
                event = DriftEvent.from_json(message.value() or b"")
            except ValueError:
                self.malformed += 1
                continue
            with self._lock:
                self._events.append(event)

    def events(self) -> list[dict[str, Any]]:
        """The last events as JSON, the newest first."""
        with self._lock:
            return [asdict(one) for one in reversed(self._events)]
