"""Runs in an environment that has Titus: answers each line of standard input, a document and data, with a line."""

from __future__ import annotations

import inspect
import json
import sys

import numpy


def main() -> None:
    # Titus was written for earlier versions of Python and numpy.
    numpy.float_ = numpy.float64
    inspect.getargspec = inspect.getfullargspec
    from titus.genpy import PFAEngine

    for line in sys.stdin:
        request = json.loads(line)
        try:
            (engine,) = PFAEngine.fromJson(request["document"])
            engine.begin()
            answer = {"answers": [_answer(engine, datum) for datum in request["data"]]}
        except Exception as error:
            answer = {"refused": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def _answer(engine: object, datum: object) -> dict[str, object]:
    try:
        return {"value": engine.action(datum)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    main()
