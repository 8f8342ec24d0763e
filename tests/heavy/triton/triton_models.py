"""The models of `served_models.py` for Triton's Python backend, which loads one of these classes for each model.

They run in processes that Triton starts, in the environment of its tests.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import served_models
import triton_python_backend_utils as backend
from served_models import Array


class Model:
    """A model: Triton calls `initialize` once, and then `execute`."""

    def initialize(self, args: Mapping[str, str]) -> None:
        self.version = args["model_version"]
        self.parameters = {
            name: value["string_value"] for name, value in json.loads(args["model_config"])["parameters"].items()
        }

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._response(request) for request in requests]

    def _response(self, request: Any) -> Any:
        answer = self.answer({one.name(): one.as_numpy() for one in request.inputs()})
        wanted = request.requested_output_names()
        return backend.InferenceResponse([backend.Tensor(name, answer[name]) for name in wanted])

    def answer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        raise NotImplementedError


class Adder(Model):
    """`adder`."""

    def initialize(self, args: Mapping[str, str]) -> None:
        super().initialize(args)
        time.sleep(float(self.parameters["load_seconds"]))

    def answer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return {"y": served_models.added(inputs["x"], self.version)}


class Kinds(Model):
    """`kinds` and `halves`."""

    def answer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return dict(served_models.mirrored(inputs))


class Forest(Model):
    """`forest`."""

    def initialize(self, args: Mapping[str, str]) -> None:
        super().initialize(args)
        self._forest = served_models.Forest(Path(self.parameters["forest"]))

    def answer(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return dict(self._forest(inputs))
