"""Targets, which limit, scale and round a predicted number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from models.scorers.pmml.columns import Floats
from models.scorers.pmml.context import CLASSIFICATION
from models.scorers.pmml.elements import Element
from models.scorers.pmml.predictions import Prediction

_ROUNDINGS: dict[str, Callable[[Floats], Floats]] = {
    "round": lambda values: np.floor(values + 0.5),
    "ceiling": np.ceil,
    "floor": np.floor,
}


@dataclass(frozen=True)
class Target:
    """The changes to a predicted number, in the order of the attributes."""

    low: float = -np.inf
    high: float = np.inf
    factor: float = 1.0
    constant: float = 0.0
    rounding: str | None = None

    def applied(self, prediction: Prediction) -> Prediction:
        """The prediction with changed numbers; missing ones stay missing."""
        if prediction.numbers is None or self == Target():
            return prediction
        numbers = np.clip(prediction.numbers, self.low, self.high) * self.factor + self.constant
        return replace(prediction, numbers=numbers if self.rounding is None else _ROUNDINGS[self.rounding](numbers))


def read_targets(element: Element | None, function: str) -> Target:
    """Reads Targets; without any, numbers stay unchanged."""
    if element is None:
        return Target()
    element.check("", "Target")
    target = element.only("Target")
    target.check("field optype castInteger min max rescaleConstant rescaleFactor", "TargetValue")
    for one in target.children:
        one.check("value displayValue")
    rounding = target.get("castInteger")
    if rounding is not None:
        target.choice("castInteger", " ".join(_ROUNDINGS))
    read = Target(
        target.number("min", -np.inf),
        target.number("max", np.inf),
        target.number("rescaleFactor", 1.0),
        target.number("rescaleConstant", 0.0),
        rounding,
    )
    if function == CLASSIFICATION and read != Target():
        target.refuse("numbers are rescaled, but the model gives classes")
    return read
