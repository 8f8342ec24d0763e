"""Titus, an independent evaluator of PFA, in its own process."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.models.scorers.servers.server_environment import server_environment

_HERE = Path(__file__).parent


class Titus:
    """Returns the results that Titus computes. It is a context manager."""

    def __enter__(self) -> Titus:
        python = server_environment("titus", _HERE / "titus.lock.txt") / "python"
        command = [str(python), "-W", "ignore", str(_HERE / "titus_process.py")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def answers(self, document: Mapping[str, Any], data: Sequence[Any]) -> list[dict[str, Any]]:
        """For each datum {"value": ...} or {"error": ...}; fails if Titus rejects the document."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"document": document, "data": list(data)}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "answers" in answer, answer
        found: list[dict[str, Any]] = answer["answers"]
        return found

    def values(self, document: Mapping[str, Any], data: Sequence[Any]) -> list[Any]:
        """The value for each datum; fails if there is an error."""
        answers = self.answers(document, data)
        errors = [one["error"] for one in answers if "error" in one]
        assert not errors, errors[0]
        return [one["value"] for one in answers]
