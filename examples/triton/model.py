"""Runs an ONNX model in Triton's Python backend, which loads this file beside `forest.onnx`.

Triton's own ONNX backend does not need this file, but not every build of Triton includes that backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime
import triton_python_backend_utils as backend


class TritonPythonModel:
    """The model as Triton sees it: `initialize` is called once, and then `execute` with one or more requests."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Loads the model of the version that this folder contains."""
        folder = Path(args["model_repository"]) / args["model_version"]
        self._session = onnxruntime.InferenceSession(folder / "forest.onnx")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Responds to each request; an exception would be the response to all of them."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        measures = backend.get_input_tensor_by_name(request, "measures").as_numpy()
        (quality,) = self._session.run(None, {"X": measures})
        return backend.InferenceResponse([backend.Tensor("quality", quality)])
