"""Checks of JSON from outside, from which values of ours are made: each returns the value, or raises ValueError."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, TypeVar

from models.text import limit_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Check = Callable[[Any], Any]
Made = TypeVar("Made", bound="DataclassInstance")

_SHOWN = 60


def text(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise ValueError(f"{_shown(value)} is not a text")
    return value


def whole_number(most: int) -> Check:
    """A whole number from 0 to `most`."""

    def check(value: Any) -> int:
        if type(value) is not int or not 0 <= value <= most:
            raise ValueError(f"{_shown(value)} is not a whole number from 0 to {most}")
        return value

    return check


def number(most: float = sys.float_info.max) -> Check:
    """A number from 0 to `most`; without `most`, any finite one that is not negative."""

    def check(value: Any) -> float:
        # To Python, a boolean is a whole number. NaN fails both comparisons.
        if type(value) not in (int, float) or not 0 <= value <= most:
            raise ValueError(f"{_shown(value)} is not a number from 0 to {most:g}")
        return float(value)

    return check


def one_of(known: Container[str]) -> Check:
    """One of the known texts."""

    def check(value: Any) -> str:
        if text(value) not in known:
            raise ValueError(f"{_shown(value)} is unknown")
        return text(value)

    return check


def optional(check: Check) -> Check:
    """null, or what another check accepts."""
    return lambda value: None if value is None else check(value)


def list_of(check: Check) -> Check:
    """A list whose items another check accepts, as a tuple."""

    def check_items(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError(f"{_shown(value)} is not a list")
        return tuple(_at(f"[{place}]", check, one) for place, one in enumerate(value))

    return check_items


def dictionary_of(name: Check, check: Check) -> Check:
    """An object whose names and values two other checks accept."""

    def check_entries(value: Any) -> dict[str, Any]:
        return {name(key): _at(f".{key}", check, one) for key, one in _object(value).items()}

    return check_entries


def object_of(kind: type[Made], checks: Mapping[str, Check]) -> Callable[[Any], Made]:
    """An object with the fields of a dataclass, each with its check; a field with a default may be missing.

    >>> from models.status.events import WorkerState
    >>> check = object_of(WorkerState, {"position": whole_number(100), "waiting": list_of(text)})
    >>> check({"position": 7, "waiting": ["wine/2"]})
    WorkerState(position=7, topic_id='', waiting=('wine/2',), memory=0)
    >>> check({"position": 7, "waiting": ["wine/2", None]})
    Traceback (most recent call last):
    ValueError: .waiting[1]: None is not a text
    """
    needed = [one.name for one in fields(kind) if one.default is one.default_factory is MISSING]

    def check_fields(value: Any) -> Made:
        found = _object(value)
        missing = [one for one in needed if one not in found]
        unknown = [one for one in found if one not in checks]
        if missing or unknown:
            raise ValueError(f"{missing[0]!r} is missing" if missing else f"the field {_shown(unknown[0])} is unknown")
        return kind(**{name: _at(f".{name}", checks[name], one) for name, one in found.items()})

    return check_fields


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{_shown(value)} is not an object")
    return value


def _at(place: str, check: Check, value: Any) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise ValueError(f"{place}{'' if str(error)[:1] in '.[' else ': '}{error}") from None


def _shown(value: Any) -> str:
    """A value in an error; what contains others may be nested too deeply to be written."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    return limit_text(repr(value), _SHOWN)
