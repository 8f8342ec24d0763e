"""Reads JSON safely. Each element knows its place in the document, so that a refusal can name it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from models.errors import ModelLoadError

MOST_BYTES = 256 << 20
MOST_DEPTH = 200
MOST_VALUES = 10_000_000

_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SHOWN = 60


@dataclass(frozen=True)
class Element:
    """A value of the document.

    Attributes:
      value: the value as Python's json returns it.
      path: the names and indices that lead to the element.
    """

    value: Any
    path: tuple[str | int, ...] = ()

    def refuse(self, reason: str) -> NoReturn:
        """Raises ModelLoadError for this element."""
        place = ".".join(str(part)[:_SHOWN] for part in self.path) or "the document"
        raise ModelLoadError(f"{place}: {reason}")

    def child(self, key: str | int) -> Element:
        """A member of an object or an item of an array, which must exist."""
        return Element(self.value[key], (*self.path, key))

    def need(self, key: str) -> Element:
        """A member of an object; raises ModelLoadError if there is none."""
        if key not in self.object():
            self.refuse(f"{key!r} is missing")
        return self.child(key)

    def find(self, key: str) -> Element | None:
        """A member of an object, or None."""
        return self.child(key) if key in self.object() else None

    def object(self) -> dict[str, Any]:
        """The value, if it is an object; raises ModelLoadError otherwise."""
        if not isinstance(self.value, dict):
            self.refuse(f"an object is expected, not {self.shown()}")
        return self.value

    def members(self) -> Iterator[tuple[str, Element]]:
        """The members of an object; raises ModelLoadError if the value is not an object."""
        for key in self.object():
            yield key, self.child(key)

    def items(self) -> list[Element]:
        """The items of an array; raises ModelLoadError if the value is not an array."""
        if not isinstance(self.value, list):
            self.refuse(f"an array is expected, not {self.shown()}")
        return [self.child(place) for place in range(len(self.value))]

    def text(self) -> str:
        """The value, if it is a string; raises ModelLoadError otherwise."""
        if not isinstance(self.value, str):
            self.refuse(f"a string is expected, not {self.shown()}")
        return self.value

    def check(self, known: str) -> None:
        """Raises ModelLoadError if a member has another name than these, which are separated by spaces."""
        for key in self.object():
            if key not in (*known.split(), "@", "doc"):
                self.refuse(f"{key!r} is not supported here")

    def shown(self) -> str:
        """The beginning of the value as JSON."""
        text = json.dumps(self.value)[:_SHOWN] if not isinstance(self.value, (dict, list)) else ""
        return text or ("an object" if isinstance(self.value, dict) else "an array")


def read_json(content: bytes) -> Element:
    """Reads a JSON file.

    Raises:
      ModelLoadError: the file is not JSON, is too large or too deep, or contains a duplicate name or a number that is
        not finite.
    """
    if len(content) > MOST_BYTES:
        raise ModelLoadError(f"the file has {len(content)} bytes; the limit is {MOST_BYTES}")
    _check_size(content)
    try:
        value = json.loads(
            content, object_pairs_hook=_unique, parse_constant=_not_finite, parse_float=_number, parse_int=_integer
        )
    except (ValueError, RecursionError) as error:
        raise ModelLoadError(f"the file is not JSON, or is truncated: {error}") from error
    return Element(value)


def _check_size(content: bytes) -> None:
    """Limits the brackets and commas outside of strings before any object is created."""
    signs = np.frombuffer(_STRINGS.sub(b'"', content), np.uint8)
    steps = np.isin(signs, (ord("["), ord("{"))).astype(np.int8) - np.isin(signs, (ord("]"), ord("}")))
    values = int((signs == ord(",")).sum() + (steps > 0).sum())
    depth = int(np.cumsum(steps, dtype=np.int32).max(initial=0))
    if depth > MOST_DEPTH or values > MOST_VALUES:
        raise ModelLoadError(f"the file has more than {MOST_DEPTH} levels or {MOST_VALUES} values")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(one for one in names if names.count(one) > 1)[:_SHOWN]!r} occurs twice")
    return found


def _number(text: str) -> float:
    value = float(text)
    if not np.isfinite(value):
        raise ValueError(f"the number {text[:_SHOWN]} is not finite")
    return value


def _integer(text: str) -> int:
    if len(text) > _SHOWN:  # Python takes quadratic time for longer numbers
        raise ValueError(f"the number {text[:_SHOWN]}... is too long")
    return int(text)


def _not_finite(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")
