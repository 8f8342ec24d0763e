"""Files with one JSON value per line, for the options of `beam-serving models publish`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.errors import OptionsError


def read_json_lines(option: str, path: str) -> Iterator[tuple[str, Any]]:
    """The values in a file, each with its place for errors; empty lines are skipped.

    Args:
      option: the option that names the file.
      path: the path of the file.

    Raises:
      OptionsError: the file cannot be read, or a line is not JSON; the message names the option and the line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionsError(f"{option} {path}: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{option} {path}, line {number}"
            yield where, _value(where, line)


def _value(where: str, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise OptionsError(f"{where}: not JSON: {error}") from error
