"""Scores documents in tests, with plain lists of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.scorers.pmml.document import read_document
from models.scorers.pmml.scorer import Evaluation


def scored(content: bytes, columns: Mapping[str, Sequence[Any] | Any]) -> dict[str, Any]:
    """The outputs: arrays of numbers, and lists of texts with None for missing ones."""
    evaluation = Evaluation(read_document(content))
    signature = evaluation.signature()
    inputs: dict[str, Any] = {}
    for name, spec in signature.inputs.items():
        if spec.dtype == object:
            inputs[name] = np.empty(len(columns[name]), object)
            inputs[name][:] = [b"" if value is None else value.encode() for value in columns[name]]
        else:
            inputs[name] = np.array([np.nan if value is None else value for value in columns[name]], spec.dtype)
    rows = len(next(iter(inputs.values())))
    outputs = evaluation.outputs(inputs, rows)
    assert {name: array.dtype for name, array in outputs.items()} == {
        name: spec.dtype for name, spec in signature.outputs.items()
    }
    return {
        name: [value.decode() or None for value in array.tolist()] if array.dtype == object else array
        for name, array in outputs.items()
    }
