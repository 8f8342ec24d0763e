"""Golden samples: records, and the outputs that a model must give for them; they travel with its descriptor."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from models.errors import DescriptorError

MOST_SAMPLES = 100
MOST_CHARACTERS = 256 * 1024
"""The limit for all samples of a version together: every process that follows the models topic keeps them in memory."""


@dataclass(frozen=True)
class GoldenSample:
    """One record and the outputs that the model must give for it.

    Attributes:
      record: the fields of the record, as a JSON object; bytes are {"base64": "..."}.
      outputs: the expected outputs of the result by name, as a JSON object; outputs that are not named are only checked
        for NaN. A number that is not finite is NaN, Infinity or -Infinity, with or without quotes.
    """

    record: str
    outputs: str

    def row(self) -> dict[str, Any]:
        """The fields of the record; raises DescriptorError when they are not a JSON object."""
        return _object("record", self.record)

    def expected(self) -> dict[str, Any]:
        """The expected outputs by name; raises DescriptorError when they are not a JSON object."""
        return _object("outputs", self.outputs)


@dataclass(frozen=True)
class GoldenSamples:
    """The golden samples of a version.

    Attributes:
      samples: the samples, at least one.
      absolute_tolerance, relative_tolerance: an output may differ from the expected number by the first plus the second
        times the expected number. Whole numbers, booleans and texts may not differ.
    """

    samples: tuple[GoldenSample, ...]
    absolute_tolerance: float = 0.0
    relative_tolerance: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < len(self.samples) <= MOST_SAMPLES:
            raise DescriptorError(f"there are {len(self.samples)} golden samples; there must be 1 to {MOST_SAMPLES}")
        size = sum(len(sample.record) + len(sample.outputs) for sample in self.samples)
        if size > MOST_CHARACTERS:
            raise DescriptorError(
                f"the golden samples have {size} characters, more than {MOST_CHARACTERS}; give fewer or smaller ones"
            )
        for tolerance in (self.absolute_tolerance, self.relative_tolerance):
            if not (math.isfinite(tolerance) and tolerance >= 0):
                raise DescriptorError(f"the tolerance {tolerance} of the golden samples is not a number of at least 0")


def _object(name: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DescriptorError(f"the {name} of a golden sample cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise DescriptorError(f"the {name} of a golden sample is not a JSON object")
    return value
