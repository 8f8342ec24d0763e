"""Reads the options of a descriptor, and refuses unknown ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from models.errors import ScorerOptionError


class OptionReader:
    """Reads a descriptor's options one at a time, and then rejects those that were not read.

    Args:
      options: the options of the descriptor.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = options
        self._known: list[str] = []
        self._prefixes: tuple[str, ...] = ()

    def text(self, name: str) -> str | None:
        """The value of the option; None if it is not set."""
        self._known.append(name)
        return self._options.get(name)

    def seconds(self, name: str, default: float) -> float:
        """A finite number of seconds above 0; `default` if the option is not set.

        Raises:
          ScorerOptionError: the value is not such a number.
        """
        text = self.text(name)
        try:
            value = default if text is None else float(text)
        except ValueError:
            value = 0.0
        if not 0 < value < float("inf"):
            raise self.unreadable(name, "a number of seconds above 0")
        return value

    def count(self, name: str, default: int) -> int:
        """A whole number of at least 1; `default` if the option is not set.

        Raises:
          ScorerOptionError: the value is not such a number.
        """
        text = self.text(name)
        if text is None:
            return default
        if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
            raise self.unreadable(name, "a whole number of at least 1")
        return int(text)

    def choice(self, name: str, values: tuple[str, ...]) -> str:
        """One of `values`; the first one if the option is not set.

        Raises:
          ScorerOptionError: the value is not one of them.
        """
        text = self.text(name)
        if text is not None and text not in values:
            raise self.unreadable(name, " or ".join(values))
        return values[0] if text is None else text

    def file(self, name: str) -> Path | None:
        """The path of a readable file; None if the option is not set.

        Raises:
          ScorerOptionError: the file cannot be read on this machine.
        """
        text = self.text(name)
        if text is None:
            return None
        try:
            with Path(text).open("rb"):
                return Path(text)
        except OSError as error:
            raise ScorerOptionError(
                f"option {name}: {text} cannot be read on this machine: {error.strerror}"
            ) from error

    def named(self, prefix: str, placeholder: str) -> dict[str, str]:
        """The values of the options PREFIX.NAME, by NAME; `placeholder` represents NAME in error messages."""
        start = f"{prefix}."
        self._known.append(start + placeholder)
        self._prefixes += (start,)
        return {name[len(start) :]: value for name, value in self._options.items() if name.startswith(start)}

    def unreadable(self, name: str, expected: str) -> ScorerOptionError:
        """The error for an option whose value is not `expected`."""
        return ScorerOptionError(f"option {name}: {self._options[name]!r} is not {expected}")

    def refuse_others(self) -> None:
        """Raises ScorerOptionError for options that were not read, because no scorer knows them."""
        unknown = [name for name in self._options if name not in self._known and not name.startswith(self._prefixes)]
        if unknown:
            known = ", ".join(sorted(self._known))
            raise ScorerOptionError(f"unknown option {', '.join(sorted(unknown))}; known options: {known}")
