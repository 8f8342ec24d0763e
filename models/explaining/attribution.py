"""An explained answer: how much each input of the model contributed to one number of its outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import orjson

from models.columns.scored import ModelIdentity
from models.results.json_values import json_value

Method = Literal["integrated-gradients", "permutation"]

# Gradients are summed over finitely many steps; a sum within this part of the difference counts as complete.
_COMPLETE = 0.05
# What computing with float32 may differ by, as a part of the numbers themselves.
_ROUNDING = 1e-4


@dataclass(frozen=True)
class RecordCoordinates:
    """Where a record is: its topic, partition and offset."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}-{self.offset}"


@dataclass(frozen=True)
class Explained:
    """The number that is explained.

    Attributes:
      output: the name of the output, as in the result.
      component: its place in the row of that output; empty if a row is a single number.
      item: the item of the record's array field, for a model that scores one row for each; None for any other.
    """

    output: str
    component: tuple[int, ...] = ()
    item: int | None = None

    def __str__(self) -> str:
        item = "" if self.item is None else f" of item {self.item}"
        return f"{self.output}{list(self.component) if self.component else ''}{item}"


@dataclass(frozen=True)
class InputAttribution:
    """The contribution of one value.

    Attributes:
      input: the name of the model's input.
      element: the place of the value in the input's row; None for all of a row that is too long to be taken apart.
      name: the field of the record that fills it, with the place if it is an array.
      value: the value that the model got; None for a whole row.
      attribution: its contribution, in the unit of the output.
    """

    input: str
    element: tuple[int, ...] | None
    name: str
    value: Any
    attribution: float


@dataclass(frozen=True)
class Attributions:
    """The contributions of all inputs of one call, which add up to the difference between prediction and base.

    Attributes:
      method: how they were computed.
      explained: the number that is explained.
      base: what the model answers without the record's values.
      prediction: what it answers with them.
      background: the number of records whose values stand in for the record's; 0 if zeros and empty texts do.
      inputs: the contributions, in the order of the model's inputs.
      calls, rows: how often the model was called for this, and with how many rows together. Gradients are computed in
        a copy of the model, whose rows count as well.
    """

    method: Method
    explained: Explained
    base: float
    prediction: float
    background: int
    inputs: tuple[InputAttribution, ...]
    calls: int
    rows: int

    @property
    def unexplained(self) -> float:
        """The part of the difference between prediction and base that no input accounts for; 0 if all of it is."""
        return self.prediction - self.base - sum(one.attribution for one in self.inputs)

    @property
    def complete(self) -> bool:
        """Whether the contributions add up, except for the error of a finite sum."""
        allowed = _COMPLETE * abs(self.prediction - self.base) + _ROUNDING * max(abs(self.prediction), abs(self.base))
        return abs(self.unexplained) <= allowed  # False for NaN


@dataclass(frozen=True)
class Explanation:
    """The explanation of one answer.

    Attributes:
      record: the coordinates of the record.
      data_type: its data type.
      model: the model that answered.
      attributions: the contributions of the model's inputs.
      duration: the duration of explaining it, in microseconds.
    """

    record: RecordCoordinates
    data_type: str
    model: ModelIdentity
    attributions: Attributions
    duration: int

    @property
    def key(self) -> bytes:
        """The key of its message: TOPIC-PARTITION-OFFSET of the record."""
        return str(self.record).encode()

    def to_json(self) -> bytes:
        """The explanation as the message of its topic; numbers that are not finite become null."""
        return orjson.dumps(self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """The explanation as JSON values."""
        found, model = self.attributions, self.model
        return {
            "topic": self.record.topic,
            "partition": self.record.partition,
            "offset": self.record.offset,
            "dataType": self.data_type,
            "modelName": model.name,
            "modelVersion": model.version,
            "digest": model.digest,
            "descriptorOffset": model.descriptor_offset,
            "method": found.method,
            "output": found.explained.output,
            "component": list(found.explained.component),
            "item": found.explained.item,
            "baseValue": json_value(found.base),
            "prediction": json_value(found.prediction),
            "unexplained": json_value(found.unexplained),
            "background": found.background,
            "calls": found.calls,
            "rows": found.rows,
            "duration": self.duration,
            "attributions": [
                {
                    "input": one.input,
                    "element": None if one.element is None else list(one.element),
                    "name": one.name,
                    "value": json_value(one.value),
                    "attribution": json_value(one.attribution),
                }
                for one in found.inputs
            ],
        }
