"""Parses the values of single arguments: durations, numbers, shares and versions."""

from __future__ import annotations

import re

from models.errors import OptionsError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}


def seconds_named(option: str, text: str) -> float:
    """A duration such as 500ms, 2s or 1m, in seconds; raises OptionsError when the text is not one.

    >>> seconds_named("fence", "1.5s"), seconds_named("fence", "2m")
    (1.5, 120.0)
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|)", text, re.ASCII)
    if found is None:
        raise OptionsError(f"--{option} {text!r} is not a duration such as 500ms, 2s or 1m")
    return float(found[1]) * _UNITS[found[2]]


def number_named(option: str, text: str) -> float:
    """A number of at least 0, such as 0.2 or 1e-6; raises OptionsError when the text is not one.

    >>> number_named("tolerance", "1e-3")
    0.001
    """
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?(e[-+]?[0-9]{1,2})?", text, re.ASCII):
        raise OptionsError(f"--{option} {text!r} is not a number of at least 0, such as 0.2 or 1e-6")
    return float(text)


def share_named(text: str, option: str = "share") -> float:
    """A share such as 10% or 0.1, as a number; raises OptionsError when the text is not one.

    >>> share_named("2.5%"), share_named("0.5")
    (0.025, 0.5)
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(%?)", text, re.ASCII)
    if found is None:
        raise OptionsError(f"--{option} {text!r} is not a share such as 10% or 0.1")
    return float(found[1]) / (100 if found[2] else 1)


def message_named(option: str, text: str) -> tuple[str, int, int]:
    """The topic, partition and offset in TOPIC:PARTITION:OFFSET; raises OptionsError when the text is malformed.

    >>> message_named("result", "results:0:17")
    ('results', 0, 17)
    """
    found = re.fullmatch(r"([a-zA-Z0-9._-]+):([0-9]{1,9}):([0-9]{1,18})", text, re.ASCII)
    if found is None:
        raise OptionsError(f"--{option} {text!r} is not TOPIC:PARTITION:OFFSET, for example results:0:17")
    return found[1], int(found[2]), int(found[3])


def count_named(option: str, text: str, least: int = 0) -> int:
    """A whole number of at least `least`; raises OptionsError when the text is not one.

    >>> count_named("background", "32")
    32
    """
    if not (text.isascii() and text.isdigit() and least <= int(text) < 2**31):
        raise OptionsError(f"--{option} {text!r} is not a whole number of at least {least}")
    return int(text)


def version_named(text: str) -> tuple[str, int]:
    """The name and number in NAME/VERSION; raises OptionsError when the text is malformed.

    >>> version_named("wine/3")
    ('wine', 3)
    """
    name, _, number = text.rpartition("/")
    if not name or not (number.isascii() and number.isdigit()) or int(number) < 1:
        raise OptionsError(f"{text!r} is not NAME/VERSION, for example wine/3")
    return name, int(number)
