"""Profiles: what the answered records of a window, or of a baseline, look like."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import orjson

from models.observing.drift.sketches import CategorySketch, FieldSketch, Floats, NumberSketch, sketch_from_json

FieldKind = Literal["feature", "output", "confidence"]
_KINDS: tuple[FieldKind, ...] = ("feature", "output", "confidence")
Values = Floats | list["str | None"]
"""The values of a field, one for each record: float64 with NaN for a missing number, or texts with None."""


class FieldKey(NamedTuple):
    """What a sketch is about: a field of the records, an output, or how confident an output of class scores is."""

    kind: FieldKind
    name: str


@dataclass
class Profile:
    """The sketches of some records. Not thread-safe.

    Attributes:
      records: the number of records.
      labels: the number of answers that have received a label.
      correct: the number of labelled answers that are correct.
      fields: the sketches.
    """

    records: int = 0
    labels: int = 0
    correct: int = 0
    fields: dict[FieldKey, FieldSketch] = field(default_factory=dict)

    def add(self, records: int, values: Mapping[FieldKey, Values]) -> None:
        """Adds records by the values of their fields."""
        self.records += records
        for key, found in values.items():
            if isinstance(found, list):
                categories = self.fields.setdefault(key, CategorySketch())
                if isinstance(categories, CategorySketch):
                    categories.add(found)
            else:
                numbers = self.fields.setdefault(key, NumberSketch())
                if isinstance(numbers, NumberSketch):
                    numbers.add(found)

    def merge(self, other: Profile) -> None:
        """Adds the records of another profile."""
        self.records += other.records
        self.labels += other.labels
        self.correct += other.correct
        for key, sketch in other.fields.items():
            # Merged into a new one, because the other profile may be merged into a third.
            known = self.fields.setdefault(key, type(sketch)())
            if isinstance(known, NumberSketch) and isinstance(sketch, NumberSketch):
                known.merge(sketch)
            if isinstance(known, CategorySketch) and isinstance(sketch, CategorySketch):
                known.merge(sketch)

    def parts(self, fields: int) -> list[Profile]:
        """The profile in parts with at most this many fields, which merge to it again."""
        keys = list(self.fields)
        first, *others = [keys[at : at + fields] for at in range(0, max(1, len(keys)), fields)]
        return [
            Profile(self.records, self.labels, self.correct, {key: self.fields[key] for key in first}),
            *(Profile(fields={key: self.fields[key] for key in one}) for one in others),
        ]

    def to_json(self) -> dict[str, Any]:
        """The profile as JSON values."""
        return {
            "records": self.records,
            "labels": self.labels,
            "correct": self.correct,
            "fields": {f"{key.kind}:{key.name}": sketch.to_json() for key, sketch in self.fields.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Profile:
        """The profile that `to_json` wrote; raises ValueError if it is malformed."""
        try:
            fields = {_key(name): sketch_from_json(one) for name, one in value["fields"].items()}
            return cls(int(value["records"]), int(value["labels"]), int(value["correct"]), fields)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a profile: {error!r}") from error

    def to_bytes(self) -> bytes:
        """The profile as the text of JSON."""
        return orjson.dumps(self.to_json())

    @classmethod
    def from_bytes(cls, content: bytes) -> Profile:
        """The profile that `to_bytes` wrote; raises ValueError if it is malformed."""
        return cls.from_json(orjson.loads(content))


def merged(profiles: Iterable[Profile]) -> Profile:
    """The records of all of these profiles."""
    whole = Profile()
    for one in profiles:
        whole.merge(one)
    return whole


def _key(text: str) -> FieldKey:
    kind, _, name = text.partition(":")
    for known in _KINDS:
        if kind == known:
            return FieldKey(known, name)
    raise ValueError(f"not a field of a profile: {text!r}")
