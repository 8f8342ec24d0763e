"""What workers report on the status topic: their state, that of each version, and which models they refused."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from confluent_kafka import Message

from models.model_topic.publisher import ListedVersion
from models.status.events import StatusEvent
from models.status.model_status import StatusFold
from models.text import clean_text

MOST_REFUSALS = 50
# The fold keeps an entry for each worker and version. Workers get new names when they restart: when there are too many,
# it begins again, and the workers that still live report themselves within seconds.
MOST_KEYS = 20_000


@dataclass(frozen=True)
class Refusal:
    """A version that a deployment could not load.

    Attributes:
      deployment, model, version: which one.
      error: the last reason.
      first, last: the times of the first and of the last failure, in milliseconds since 1970-01-01 UTC.
      tries: how many failures were reported.
      resolved: whether it has served since.
    """

    deployment: str
    model: str
    version: int
    error: str
    first: int
    last: int
    tries: int = 1
    resolved: bool = False


class Workers:
    """Takes status events. Thread-safe.

    Args:
      deployment: the deployment whose events count; None for all.
    """

    def __init__(self, deployment: str | None = None) -> None:
        self._lock = threading.Lock()
        self._fold = StatusFold(deployment)
        self._keys: set[bytes] = set()
        self._refusals: OrderedDict[tuple[str, str, int], Refusal] = OrderedDict()

    def take(self, messages: Sequence[Message]) -> None:
        """Adds the events in these messages; malformed messages are only counted."""
        with self._lock:
            for message in messages:
                self._note_key(message.key() or b"")
                event = self._fold.add(message.value() or b"")
                if event is not None:
                    self._note_refusal(event)

    @property
    def malformed(self) -> int:
        """The number of messages that were not status events."""
        with self._lock:
            return self._fold.malformed

    def statuses(self, versions: Iterable[ListedVersion]) -> list[dict[str, Any]]:
        """The status of these versions as JSON, in every deployment that has reported on them."""
        with self._lock:
            found = self._fold.statuses(versions)
        return [_with_clean_error(asdict(one)) for one in found]

    def listed(self, position: int, topic_id: str) -> list[dict[str, Any]]:
        """The workers as JSON.

        Args:
          position: the end of the models topic.
          topic_id: its id; empty if it is unknown.
        """
        now = time.time_ns() // 1_000_000
        with self._lock:
            found = self._fold.workers(position, topic_id, now)
        return [{**asdict(one), "silent": one.is_silent(now), "attention": one.needs_attention(now)} for one in found]

    def refusals(self) -> list[dict[str, Any]]:
        """The versions that were refused as JSON, the last one first."""
        with self._lock:
            return [asdict(one) for one in reversed(self._refusals.values())]

    def _note_key(self, key: bytes) -> None:
        self._keys.add(key[:500])
        if len(self._keys) > MOST_KEYS:
            self._keys.clear()
            self._fold.forget()

    def _note_refusal(self, event: StatusEvent) -> None:
        key = event.deployment, event.model_name, event.model_version
        known = self._refusals.get(key)
        if event.kind == "failed":
            error = clean_text(event.error or "no reason was given")
            first, tries = (event.at, 1) if known is None else (known.first, known.tries + 1)
            self._refusals[key] = Refusal(*key, error, first, event.at, tries)
            self._refusals.move_to_end(key)
            if len(self._refusals) > MOST_REFUSALS:
                self._refusals.popitem(last=False)
        elif event.kind in ("serving", "statistics") and known is not None and not known.resolved:
            self._refusals[key] = replace(known, resolved=event.at >= known.last)


def _with_clean_error(status: dict[str, Any]) -> dict[str, Any]:
    return {**status, "last_error": None if status["last_error"] is None else clean_text(status["last_error"])}
