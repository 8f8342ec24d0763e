"""Runs in an environment with Titus: reads a document and data from each input line, and responds with one line."""

from __future__ import annotations

import inspect
import json
import sys
from typing import Any

import numpy


def main() -> None:
    # Titus was written for earlier versions of Python and numpy.
    setattr(numpy, "float_", numpy.float64)  # noqa: B010
    setattr(inspect, "getargspec", inspect.getfullargspec)  # noqa: B010
    from titus.genpy import PFAEngine

    for line in sys.stdin:
        request = json.loads(line)
        try:
            (engine,) = PFAEngine.fromJson(request["document"])
            engine.begin()
            answer: dict[str, Any] = {"answers": [_answer(engine, datum) for datum in request["data"]]}
        except Exception as error:
            answer = {"refused": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def _answer(engine: Any, datum: Any) -> dict[str, object]:
    try:
        return {"value": engine.action(datum)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    main()
