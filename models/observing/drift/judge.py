"""Judges the windows of all versions of a deployment, from the messages with sketches. It knows no Kafka."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from models.observing.drift.events import DriftEvent, FieldFigure
from models.observing.drift.messages import (
    BaselineMessage,
    JudgedMessage,
    ModelVersion,
    SketchMessage,
    WindowMessage,
)
from models.observing.drift.policy import DriftPolicy
from models.observing.drift.profile import Profile, merged
from models.observing.drift.watch import Judged, ModelWatch

_LOGGER = logging.getLogger(__name__)

_MOST_VERSIONS = 100

FindBaseline = Callable[[ModelVersion], Profile | None]
News = DriftEvent | BaselineMessage | JudgedMessage


@dataclass
class _Watched:
    watch: ModelWatch
    stored: dict[int, Profile] = field(default_factory=dict)
    labels: int = 0


class DriftJudge:
    """The versions of a deployment. Not thread-safe.

    Args:
      deployment: the name of the deployment; sketches of others are ignored.
      policy: how drift is judged.
      find_baseline: returns the baseline that travels with a version; None if there is none.
    """

    def __init__(self, deployment: str, policy: DriftPolicy, find_baseline: FindBaseline) -> None:
        self._deployment = deployment
        self._policy = policy
        self._find_baseline = find_baseline
        self._watched: dict[ModelVersion, _Watched] = {}

    def add(self, message: SketchMessage) -> None:
        """Takes a message of the topic with sketches."""
        if message.of.deployment != self._deployment:
            return
        one = self._of(message.of)
        if isinstance(message, WindowMessage):
            if message.seconds == self._policy.window_seconds:
                one.watch.add(message.start, message.profile)
        elif isinstance(message, BaselineMessage):
            one.stored[message.part] = message.profile
            one.watch.baseline = merged(one.stored.values())
            one.labels = one.watch.baseline.labels
        else:
            one.watch.resume(message.until, message.drifting)

    def judge(self, now: int) -> Iterator[News]:
        """Judges the windows that are due, and yields what is to be sent, in that order.

        Args:
          now: milliseconds since 1970-01-01 UTC.
        """
        for of, one in self._watched.items():
            had_baseline = one.watch.baseline is not None
            for judged in one.watch.judge(now):
                yield from self._news(of, one, judged, had_baseline)
                had_baseline = one.watch.baseline is not None

    def _news(self, of: ModelVersion, one: _Watched, judged: Judged, had_baseline: bool) -> Iterator[News]:
        baseline = one.watch.baseline
        if baseline is not None and (not had_baseline or baseline.labels != one.labels):
            one.labels = baseline.labels
            yield from BaselineMessage.of_profile(of, baseline)
        if baseline is None:
            return  # the first windows are read again by a monitor that takes over
        for began in judged.began:
            event = _event(of, judged, began, baseline)
            _LOGGER.warning(
                "drift of %s/%d: %s of %s %r is %.4g, the limit is %.4g (%d records)",
                of.model,
                of.version,
                event.measure,
                event.kind,
                event.field,
                event.value,
                event.limit,
                judged.window.records,
            )
            yield event
        figures = tuple(map(_as_json, judged.figures))
        yield JudgedMessage(of, judged.window.end, one.watch.drifting, figures)

    def _of(self, of: ModelVersion) -> _Watched:
        known = self._watched.get(of)
        if known is None:
            known = self._watched[of] = _Watched(ModelWatch(self._policy, self._find_baseline(of)))
            while len(self._watched) > _MOST_VERSIONS:
                del self._watched[next(iter(self._watched))]
        return known


def _as_json(one: FieldFigure) -> dict[str, Any]:
    figure = one.figure
    return {"kind": one.kind, "field": one.field, "measure": figure.measure, "value": figure.value}


def _event(of: ModelVersion, judged: Judged, began: FieldFigure, baseline: Profile) -> DriftEvent:
    figure = began.figure
    return DriftEvent(
        judged.window.end,
        of.deployment,
        of.model,
        of.version,
        began.field,
        began.kind,
        figure.measure,
        figure.value,
        figure.limit,
        judged.window,
        baseline.records,
    )
