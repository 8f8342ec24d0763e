"""Labels: the ground truth of records, compared with the answers of a model.

A comparable answer is one value per record: the index of the highest class score, or a single number, boolean or text.
Class scores with NaN have the index -1, which is never correct. Other outputs, such as vectors of whole numbers and
records with several rows, cannot be compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.columns.agreement import kind_of
from models.columns.outputs import RecordOutputs, flat_rows

Value = bool | int | float | str

LARGEST_DEVIATION = 1e150
"""The deviation of an answer that is not finite; JSON can still represent its square."""


@dataclass(frozen=True)
class Label:
    """The ground truth of a record.

    Attributes:
      value: the true value of the output; for class scores, the index of the correct class, from 0.
      output: the name of the output; None if the model has only one.
    """

    value: Value
    output: str | None = None


@dataclass(frozen=True)
class LabelledAnswer:
    """How an answer compares with its label.

    Attributes:
      correct: whether both are equal, or numbers within the tolerance of each other.
      deviation: the distance between two numbers; None for other values.
    """

    correct: bool
    deviation: float | None = None


def comparable_answers(outputs: RecordOutputs) -> list[dict[str, Value]]:
    """The answers for each record that can be compared with labels, by output.

    >>> outputs = RecordOutputs({"scores": np.array([[0.1, 0.9]]), "price": np.array([2.5])}, None)
    >>> comparable_answers(outputs)
    [{'scores': 1, 'price': 2.5}]
    """
    if outputs.bounds is not None:
        lengths = np.diff(outputs.bounds)
        single = np.flatnonzero(lengths == 1)
        rows = comparable_answers(RecordOutputs(outputs.take(single).arrays, None))
        answers: list[dict[str, Value]] = [{} for _ in lengths]
        for place, row in zip(single.tolist(), rows, strict=True):
            answers[place] = row
        return answers
    columns = {name: _values(array) for name, array in outputs.arrays.items()}
    known = {name: values for name, values in columns.items() if values is not None}
    records = len(next(iter(outputs.arrays.values()), ()))
    return [{name: values[place] for name, values in known.items()} for place in range(records)]


def _values(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> list[Value] | None:
    """One value for each row; None if the output has no comparable values."""
    flat = flat_rows(array)
    if kind_of(array) == "class scores":
        scores = flat.astype(np.float64)
        places: list[Value] = np.where(np.isnan(scores).any(axis=1), -1, np.argmax(scores, axis=1)).tolist()
        return places
    if flat.shape[1] != 1:
        return None
    return [one.decode(errors="replace") if isinstance(one, bytes) else one for one in flat[:, 0].tolist()]


def compare(answers: Mapping[str, Value], label: Label, tolerance: float) -> LabelledAnswer | None:
    """Compares a record's answers with its label; returns None if they cannot be compared.

    Args:
      answers: the answers by output, as `comparable_answers` returns them.
      label: the label of the record.
      tolerance: how far a number may differ, both absolutely and relative to the label.

    >>> compare({"price": 2.5}, Label(2), 0.01)
    LabelledAnswer(correct=False, deviation=0.5)
    >>> compare({"colour": "red"}, Label(2), 0.01)
    """
    if label.output is None and len(answers) != 1:
        return None
    answer = next(iter(answers.values())) if label.output is None else answers.get(label.output)
    if answer is None or _kind(answer) != _kind(label.value):
        return None
    if isinstance(answer, (str, bool)) or isinstance(label.value, (str, bool)):
        return LabelledAnswer(answer == label.value)
    if isinstance(answer, int) and isinstance(label.value, int):
        return LabelledAnswer(answer == label.value, _deviation(answer, label.value))
    deviation = _deviation(answer, label.value)
    near = tolerance + tolerance * abs(float(label.value))
    return LabelledAnswer(deviation <= near, deviation)


def _deviation(answer: float, label: float) -> float:
    found = abs(float(answer) - float(label))
    return min(found, LARGEST_DEVIATION) if math.isfinite(found) else LARGEST_DEVIATION


def _kind(value: Value) -> type:
    return float if type(value) in (int, float) else type(value)
