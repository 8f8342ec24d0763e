"""Distributions of predictions by version: bounded samples, and histograms of them that can be compared."""

from __future__ import annotations

import math
import sys
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from models.results.json_values import json_value
from models.text import clean_text

MOST_VALUES, MOST_OUTPUTS, MOST_SERIES = 1_000, 4, 64
_VALUES_OF_A_RESULT = 16
_MOST_LABELS = 20
_BINS = 24
_LABEL_LIMIT = 40
_LARGEST = sys.float_info.max
OTHER_LABELS = "other"

Value = float | str


@dataclass(frozen=True)
class Prediction:
    """What a result contributes to a distribution: numbers, or labels."""

    kind: Literal["number", "label"]
    values: tuple[Value, ...]


def prediction_of(values: Sequence[Any]) -> Prediction | None:
    """The contribution of one output of one result; None if it has no values.

    A vector of probabilities contributes the place of the highest one, another vector its first numbers.

    >>> prediction_of([0.1, 0.7, 0.2])
    Prediction(kind='label', values=('1',))
    >>> prediction_of([3.5]), prediction_of([b"cat"])
    (Prediction(kind='number', values=(3.5,)), Prediction(kind='label', values=('cat',)))
    """
    if not values:
        return None
    first = json_value(values[0])
    if isinstance(first, bool) or not isinstance(first, int | float):
        return Prediction("label", (clean_text(str(first), _LABEL_LIMIT),))
    numbers = [float(one) for one in values[:_VALUES_OF_A_RESULT] if _is_finite(one)]
    if are_probabilities(values):
        return Prediction("label", (str(max(range(len(values)), key=values.__getitem__)),))
    return Prediction("number", tuple(numbers)) if numbers else None


def _is_finite(value: Any) -> bool:
    # A whole number of JSON may be larger than any that floats can represent.
    return isinstance(value, int | float) and abs(value) < _LARGEST


def are_probabilities(values: Sequence[Any]) -> bool:
    """Whether values are the probabilities of classes: several from 0 to 1, with the sum 1."""
    if len(values) < 2 or not all(_is_finite(one) and 0 <= one <= 1 for one in values):
        return False
    return bool(abs(sum(values) - 1) < 1e-3)


class Distributions:
    """The last predictions of each version and output. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By output and version, in the order of their last use.
        self._series: dict[tuple[str, int], tuple[str, deque[Value]]] = {}

    def add(self, version: int, outputs: Mapping[str, Any]) -> None:
        """Adds the outputs of one result: by name, {shape, values}."""
        for name in sorted(outputs)[:MOST_OUTPUTS]:
            prediction = prediction_of(outputs[name]["values"])
            if prediction is not None:
                self._add(clean_text(name, _LABEL_LIMIT), version, prediction)

    def _add(self, output: str, version: int, prediction: Prediction) -> None:
        with self._lock:
            kind, values = self._series.pop((output, version), (prediction.kind, deque[Value](maxlen=MOST_VALUES)))
            if kind != prediction.kind:
                kind, values = prediction.kind, deque(maxlen=MOST_VALUES)
            values.extend(prediction.values)
            self._series[output, version] = kind, values
            while len(self._series) > MOST_SERIES:
                del self._series[next(iter(self._series))]

    def charts(self, versions: Sequence[int]) -> list[dict[str, Any]]:
        """A chart for each output: the share of predictions, in percent, by bin or label and by version.

        Args:
          versions: the numbers of the versions to compare.
        """
        with self._lock:
            series = {key: (kind, list(values)) for key, (kind, values) in self._series.items() if key[1] in versions}
        charts = []
        for output in sorted({output for output, _ in series})[:MOST_OUTPUTS]:
            # If an output changes its kind, that of the version that answered last counts.
            kind = next(kind for (name, _), (kind, _) in reversed(series.items()) if name == output)
            of_versions = {
                version: values for (name, version), (one, values) in series.items() if (name, one) == (output, kind)
            }
            charts.append({"output": output, **_chart(kind, of_versions)})
        return charts


def _chart(kind: str, values: Mapping[int, Sequence[Any]]) -> dict[str, Any]:
    pooled = [one for series in values.values() for one in series]
    if kind == "number" and len(set(pooled)) <= _MOST_LABELS and all(one == round(one) for one in pooled):
        return _by_label({version: [f"{one:.0f}" for one in series] for version, series in values.items()})
    if kind == "label":
        return _by_label(values)
    low, high = (float(one) for one in np.percentile(pooled, [0.5, 99.5]))
    edges = np.linspace(low, high if high > low else low + 1.0, _BINS + 1)
    counts = {version: np.histogram(np.clip(series, low, edges[-1]), edges)[0] for version, series in values.items()}
    return {
        "kind": "number",
        "edges": [float(f"{edge:.4g}") for edge in edges],
        "shares": {str(version): _percent(counts[version].tolist()) for version in values},
    }


def _by_label(values: Mapping[int, Sequence[str]]) -> dict[str, Any]:
    total = Counter(one for series in values.values() for one in series)
    common = [label for label, _ in total.most_common(_MOST_LABELS)]
    labels = sorted(common, key=_label_order) + ([OTHER_LABELS] if len(total) > len(common) else [])
    shares = {}
    for version, series in values.items():
        counted = Counter(one if one in common else OTHER_LABELS for one in series)
        shares[str(version)] = _percent([counted[label] for label in labels])
    return {"kind": "label", "labels": labels, "shares": shares}


def _label_order(label: str) -> tuple[float, str]:
    return (float(label), label) if label.lstrip("-").isdecimal() else (math.inf, label)


def _percent(counts: Sequence[int]) -> list[float]:
    total = sum(counts)
    return [round(100 * count / total, 2) if total else 0.0 for count in counts]
