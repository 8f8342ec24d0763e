"""Watches one version of a model: collects its windows, makes a baseline of the first ones, and judges the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from models.observing.drift.events import EventKind, FieldFigure, Window
from models.observing.drift.measures import MEASURES_PER_FIELD, Measure, compare_accuracy, compare_sketches
from models.observing.drift.policy import DriftPolicy
from models.observing.drift.profile import Profile, merged

Drifting = tuple[EventKind, str, Measure]


@dataclass(frozen=True)
class Judged:
    """The outcome of a window.

    Attributes:
      window: the window.
      figures: all figures of the window; empty while the baseline is being made.
      began: the figures that exceed their limit and did not in the window before.
    """

    window: Window
    figures: tuple[FieldFigure, ...] = ()
    began: tuple[FieldFigure, ...] = ()


@dataclass
class ModelWatch:
    """The windows of a version. Not thread-safe.

    Attributes:
      policy: how drift is judged.
      baseline: what the windows are compared with; None until the first windows are enough. Its labels may still be
        missing, in which case they are taken from the first windows with labels.
      judged_until: the end of the last window that was judged, in milliseconds since 1970-01-01 UTC; windows that
        began earlier come too late.
      drifting: the figures that exceeded their limit in the last window.
      late: the number of profiles that came too late.
    """

    policy: DriftPolicy
    baseline: Profile | None = None
    judged_until: int = 0
    drifting: frozenset[Drifting] = frozenset()
    late: int = 0
    _open: dict[int, Profile] = field(default_factory=dict)
    _first: list[Profile] = field(default_factory=list)
    _since: int | None = None
    _collected: Profile = field(default_factory=Profile)

    def add(self, start: int, profile: Profile) -> None:
        """Adds what one worker has sketched of the window that began at `start`."""
        if start < self.judged_until:
            self.late += 1
            return
        self._open.setdefault(start, Profile()).merge(profile)

    def resume(self, until: int, drifting: frozenset[Drifting]) -> None:
        """Goes on where another watch of the version has ended."""
        self.judged_until, self.drifting = max(self.judged_until, until), drifting
        self._open = {start: profile for start, profile in self._open.items() if start >= self.judged_until}

    def judge(self, now: int) -> Iterator[Judged]:
        """Judges the windows that have ended long enough before `now`, in milliseconds since 1970-01-01 UTC."""
        for start in sorted(self._open):
            end = start + self.policy.milliseconds
            if end + self.policy.grace > now:
                return
            profile, self.judged_until = self._open.pop(start), end
            if self.baseline is None:
                yield self._begin(Window(start, end, profile.records), profile)
                continue
            self._since = start if self._since is None else self._since
            self._collected.merge(profile)
            if self._collected.records >= self.policy.min_records:
                collected, first = self._collected, self._since
                self._collected, self._since = Profile(), None
                yield self._compare(self.baseline, Window(first, end, collected.records), collected)

    def _begin(self, window: Window, profile: Profile) -> Judged:
        self._first.append(profile)
        if self.policy.suffices(sum(one.records for one in self._first), len(self._first)):
            self.baseline, self._first = merged(self._first), []
        return Judged(window)

    def _compare(self, baseline: Profile, window: Window, profile: Profile) -> Judged:
        figures = tuple(compare_profiles(baseline, profile, self.policy))
        if baseline.labels < self.policy.min_records:
            baseline.labels += profile.labels
            baseline.correct += profile.correct
        exceeded = {(one.kind, one.field, one.figure.measure): one for one in figures if one.figure.exceeded}
        began = tuple(one for key, one in exceeded.items() if key not in self.drifting)
        self.drifting = frozenset(exceeded)
        return Judged(window, figures, began)


def compare_profiles(baseline: Profile, window: Profile, policy: DriftPolicy) -> Iterator[FieldFigure]:
    """Compares a window with the baseline, field by field; fields that only one of them has are left out.

    The accuracy is compared if both have enough labels.
    """
    keys = [key for key in baseline.fields if key in window.fields]
    chance = policy.chance(MEASURES_PER_FIELD * len(keys) + 1)
    for key in keys:
        for figure in compare_sketches(baseline.fields[key], window.fields[key], chance):
            yield FieldFigure(key.kind, key.name, figure)
    if window.labels and baseline.labels >= policy.min_records:
        figure = compare_accuracy(window.correct, window.labels, baseline.correct, baseline.labels, chance)
        yield FieldFigure("accuracy", "", figure)
