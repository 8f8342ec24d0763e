"""Models of libraries for tables: they take one matrix of features, and return predictions and probabilities.

A model that knows the names of its features has one input for each of them, so fields with the same names fill them
without a mapping. Otherwise its only input is `X`, with one column for each feature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import ModelLoadError, ScoringError
from models.scorers.base import ModelSource, Scores
from models.scorers.in_process import (
    InProcessScorer,
    as_outputs,
    check_inputs,
    check_shapes,
    check_signature_name,
    engine_text,
    selected_outputs,
)
from models.tensors import Array, Signature, TensorSpec

MATRIX_INPUT = "X"
PREDICTION = "prediction"
PROBABILITIES = "probabilities"
SIGNATURE = "predict"

Predict = Callable[[Array], Mapping[str, Array]]


@dataclass(frozen=True)
class Features:
    """The features that a model takes.

    Attributes:
      names: the names of the features in order; None if the model does not know them.
      width: the number of features.
      dtype: the dtype of the matrix.
    """

    names: tuple[str, ...] | None
    width: int
    dtype: np.dtype[np.generic]

    def inputs(self) -> dict[str, TensorSpec]:
        """The inputs of the signature.

        >>> list(Features(("age", "income"), 2, np.dtype(np.float32)).inputs())
        ['age', 'income']
        >>> Features(None, 2, np.dtype(np.float32)).inputs()["X"].shape
        (None, 2)
        """
        if self.names is None:
            return {MATRIX_INPUT: TensorSpec(MATRIX_INPUT, self.dtype, (None, self.width))}
        return {name: TensorSpec(name, self.dtype, (None,)) for name in self.names}

    def matrix(self, inputs: Mapping[str, Array]) -> Array:
        """The inputs as one matrix; raises ScoringError when they are not those of the signature."""
        specs = self.inputs()
        rows = check_inputs(inputs, specs)
        check_shapes(inputs, specs, rows)
        if self.names is None:
            return inputs[MATRIX_INPUT]
        matrix = np.empty((rows, self.width), self.dtype)
        for place, name in enumerate(self.names):
            matrix[:, place] = inputs[name]
        return matrix


def class_outputs(probabilities: npt.NDArray[Any]) -> dict[str, Array]:
    """The outputs of a classifier whose classes are numbered from 0.

    Args:
      probabilities: [rows], the probability of class 1 of two; or [rows, classes].

    >>> class_outputs(np.array([0.25]))
    {'prediction': array([0]), 'probabilities': array([[0.75, 0.25]])}
    """
    if probabilities.ndim == 1:
        prediction = (probabilities > 0.5).astype(np.int64)  # not argmax: if both are equal, class 0 wins
        return {PREDICTION: prediction, PROBABILITIES: np.stack([1 - probabilities, probabilities], axis=1)}
    return {PREDICTION: probabilities.argmax(axis=1).astype(np.int64), PROBABILITIES: probabilities}


def known_names(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """The names of the features; None if they are missing or not unique."""
    return tuple(names) if names and len(set(names)) == len(names) else None


def one_line(error: BaseException) -> str:
    """The text of a library's exception on one line of at most 500 characters, without its stack traces."""
    return engine_text(error, str(error).partition("\nStack trace:")[0])


class TableScorer(InProcessScorer):
    """A model that scores matrices.

    If `source` asks for a warm-up, a row of zeros is scored at once to discover the outputs, which no format describes.
    Otherwise the signature has no outputs.

    Args:
      source: the model.
      digest: the digest of the published model.
      features: the features that the model takes.
      predict: returns the outputs for a matrix of at least one row. Several threads may call it at once.

    Raises:
      ModelLoadError: the descriptor names another signature or an output that the model lacks, or the row of
        zeros cannot be scored.
    """

    def __init__(self, source: ModelSource, digest: str, features: Features, predict: Predict) -> None:
        descriptor = source.descriptor
        check_signature_name(descriptor, SIGNATURE)
        self._features = features
        self._predict: Predict | None = predict
        self._wanted = set(descriptor.outputs.values())
        outputs = {}
        if source.warm_up:
            first = self._first_outputs()
            outputs = {
                name: TensorSpec(name, first[name].dtype, (None, *first[name].shape[1:]))
                for name in selected_outputs(first, descriptor)
            }
        super().__init__(descriptor, digest, Signature(SIGNATURE, features.inputs(), outputs))

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        """Scores rows; returns only the outputs that the descriptor selects, or all if it selects none.

        Raises:
          ScoringError: the inputs are not those of the signature, or the library fails; the message is one line.
        """
        matrix = self._features.matrix(inputs)
        if len(matrix) == 0:  # some libraries reject an empty matrix
            return Scores({name: values[:0] for name, values in self._outputs(self._zeros()).items() if self._is(name)})
        outputs = self._outputs(matrix)
        return Scores({name: values for name, values in outputs.items() if self._is(name)})

    def close(self) -> None:
        """Frees the memory of the model."""
        self._predict = None

    def _is(self, output: str) -> bool:
        return not self._wanted or output in self._wanted

    def _zeros(self) -> Array:
        return np.zeros((1, self._features.width), self._features.dtype)

    def _first_outputs(self) -> Mapping[str, Array]:
        try:
            return self._outputs(self._zeros())
        except ScoringError as error:
            raise ModelLoadError(f"a row of zeros cannot be scored: {error} (option warmup=false skips it)") from error

    def _outputs(self, matrix: Array) -> dict[str, Array]:
        if self._predict is None:
            raise ScoringError("the model is closed")
        try:
            outputs = self._predict(matrix)
        except Exception as error:  # libraries raise exceptions of many kinds
            raise ScoringError(one_line(error)) from error
        return as_outputs(outputs, len(matrix))
