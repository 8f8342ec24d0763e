"""A program in ONNX for Triton's backend for Python, which loads this file beside `forest.onnx`.

Triton's own backend for ONNX needs no such file, but not every build of Triton has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime
import triton_python_backend_utils as backend


class TritonPythonModel:
    """Triton calls `initialize` once, and then `execute` with one request or several."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Loads the version of this folder."""
        folder = Path(args["model_repository"]) / args["model_version"]
        self._session = onnxruntime.InferenceSession(folder / "forest.onnx")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers each request; an exception would be the answer to all of them."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        measures = backend.get_input_tensor_by_name(request, "measures").as_numpy()
        (quality,) = self._session.run(None, {"X": measures})
        return backend.InferenceResponse([backend.Tensor("quality", quality)])
