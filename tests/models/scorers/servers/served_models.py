"""The models that every real Open Inference server serves in tests; how they are served depends on the server.

This module runs in the environments of the servers, so it imports none of our code. The tests read its descriptions of
tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, Any]"
Tensors = list[dict[str, Any]]


def tensor(name: str, datatype: str, *shape: int) -> dict[str, Any]:
    """The protocol's description of an input or output, as in metadata."""
    return {"name": name, "datatype": datatype, "shape": list(shape)}


# `adder`: y is x + 1000 * the number of the version.
X = [tensor("x", "FP32", -1)]
Y = [tensor("y", "FP32", -1)]
# `kinds`: an output for each input, equal but for `text`, which is doubled. FP16 has a model of its own, `halves`.
NUMBERS = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP32", "FP64")
KINDS = [
    tensor("text", "BYTES", -1),
    tensor("flag", "BOOL", -1),
    tensor("matrix", "INT64", -1, 2),
    *(tensor(name.lower(), name, -1) for name in NUMBERS),
]
HALVES = [tensor("half", "FP16", -1)]
# `forest`: whatever ONNX program the tests put there, with these tensors.
FEATURES = [tensor("X", "FP32", -1, 11)]
CLASSES = [tensor("label", "INT64", -1), tensor("probabilities", "FP32", -1, 3)]


def added(x: Array, version: str | None) -> Array:
    """The result of `adder`; raises ValueError for 13, with a long text."""
    if (x == 13).any():
        raise ValueError("13 is not scored" + "!" * 10_000)
    number = int("".join(filter(str.isdigit, version or "")) or 0)
    return np.asarray(x + 1000 * number, x.dtype)


def mirrored(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The results of `kinds` and `halves`."""
    return {
        name: np.array([2 * one for one in array.tolist()], object) if name == "text" else array
        for name, array in inputs.items()
    }


class Forest:
    """The ONNX program in a file."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options)

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The model's outputs by name."""
        return dict(zip((one["name"] for one in CLASSES), self._session.run(None, dict(inputs)), strict=True))
