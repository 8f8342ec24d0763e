"""A deployment's own package with code: a function of columns, and a model handler of Beam."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from apache_beam.ml.inference.sklearn_inference import SklearnModelHandlerNumpy

from benchmarks.contests.contest import FEATURES, NAMES, Contest
from models.entry_points import installed
from models.functions import Column, column_function
from models.tensors import Array
from transforms.model_handlers import InstalledHandler

_WIDTH, _CLASSES = 64, 3
_ENTRY_POINTS = """[beam_serving.functions]
benchmark-network = benchmarks.contests.installed_code:served_network
[beam_serving.model_handlers]
benchmark-forest = benchmarks.contests.installed_code:FOREST
"""


@cache
def _weights() -> tuple[Any, Any]:
    random = np.random.default_rng(3)
    return random.normal(size=(FEATURES, _WIDTH)), random.normal(size=(_WIDTH, _CLASSES))


def network(matrix: Any) -> Array:
    """A network of two layers in numpy: from float64 [rows, FEATURES] to probabilities [rows, 3]."""
    first, second = _weights()
    scores = np.exp(np.tanh(matrix @ first) @ second / _WIDTH)
    answer: Array = scores / scores.sum(axis=1, keepdims=True)
    return answer


@column_function(inputs={"X": Column("float64", (FEATURES,))}, outputs={"y": Column("float64", (_CLASSES,))})
def served_network(columns: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same network as a function of columns."""
    return {"y": network(columns["X"])}


FOREST = InstalledHandler(
    lambda path: SklearnModelHandlerNumpy(model_uri=path), {"X": Column("float64", (FEATURES,))}, batch="matrix"
)


def function(folder: Path) -> Contest:
    """The rival is the function itself."""
    path = folder / "function.json"
    path.write_text(json.dumps({"function": "benchmark-network"}))
    return Contest(str(path), network, "y", {"X": NAMES})


@contextmanager
def code_installed(folder: Path) -> Iterator[None]:
    """A context in which the package is installed in this folder."""
    metadata = folder / "serving_benchmark-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: serving-benchmark\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(_ENTRY_POINTS)
    sys.path.append(str(folder))
    installed.cache_clear()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        installed.cache_clear()


FUNCTIONS = {"python": (f"network of {FEATURES}, {_WIDTH}, {_CLASSES}", "numpy", function)}
