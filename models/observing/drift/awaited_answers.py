"""Joins the sampled answers of a worker with labels from the feedback topic, which arrive later."""

from __future__ import annotations

from models.columns.labels import Label, Value, comparable_answers, compare
from models.observing.drift.sampled_answers import SampledAnswers, Version

_REMEMBERED = 100_000
# As for candidates with guardrails.
_TOLERANCE = 1e-3


class AwaitedAnswers:
    """The answers that wait for their labels, the newest 100,000. Not thread-safe."""

    def __init__(self) -> None:
        self._answers: dict[bytes, tuple[Version, dict[str, Value]]] = {}

    def remember(self, sample: SampledAnswers) -> None:
        """Remembers the answers of a sample."""
        outputs = sample.outputs()
        if outputs is None:
            return
        for where, answer in zip(sample.coordinates(), comparable_answers(outputs), strict=True):
            self._answers[where] = sample.version, answer
        while len(self._answers) > _REMEMBERED:
            del self._answers[next(iter(self._answers))]

    def compare(self, coordinates: bytes, label: Label) -> tuple[Version, bool] | None:
        """The version that answered a record, and whether the label matches its answer.

        None if this worker has no such answer, it has its label already, or both cannot be compared.
        """
        version, answers = self._answers.get(coordinates, (None, {}))
        found = compare(answers, label, _TOLERANCE)
        if version is None or found is None:
            return None
        del self._answers[coordinates]
        return version, found.correct
