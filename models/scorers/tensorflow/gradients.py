"""Integrated gradients of SavedModels (Sundararajan, Taly and Yan, 2017).

A float input's contribution is its distance from a baseline, times the gradient of the output, averaged along the
straight line between them. Other inputs keep the record's values.

The session that serves has no gradients, and its files may be gone. The model is therefore fetched again, and opened a
second time by `tf.saved_model.load`, which also opens models of TensorFlow 1. What it returns is full of reference
cycles: its memory is freed only by Python's garbage collector.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.artifacts.archive import open_saved_model
from models.artifacts.fetching import Opener, fetch_model
from models.errors import GradientsError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers.in_process import ModelFolder
from models.scorers.tensorflow.saved_model import tags_of
from models.scorers.tensorflow.session import one_line, tensorflow_module
from models.tensors import Array

MODEL_TYPE = "tensorflow-saved-model"

Doubles = npt.NDArray[np.float64]


class SavedModelGradients:
    """A SavedModel whose gradients can be computed. Used by one thread at a time; the caller closes it.

    Args:
      descriptor: the descriptor of the model.
      signature: the name of the signature to call.
      content: the bytes of an inline model; None if it has a location.
      opener: reads the location.

    Raises:
      DigestMismatchError: the location contains other bytes than those that were published.
      ModelLoadError: the model cannot be fetched or opened.
      GradientsError: TensorFlow cannot open it in this way.
    """

    def __init__(self, descriptor: ModelDescriptor, signature: str, content: bytes | None, opener: Opener) -> None:
        self._folder: ModelFolder = tempfile.TemporaryDirectory(prefix="gradients-")
        try:
            folder = Path(self._folder.name)
            fetched = fetch_model(descriptor, content, opener, folder / "download")
            model = open_saved_model(fetched.content, folder / "model")
            self._loaded = _load(model, tags_of(model, descriptor))
            self._function = self._loaded.signatures[signature]
        except BaseException:
            self._folder.cleanup()
            raise

    def integrated(
        self,
        row: Mapping[str, Array],
        baseline: Mapping[str, Array],
        output: str,
        component: Sequence[int],
        steps: int,
    ) -> dict[str, Doubles]:
        """The contributions of the values of all float inputs, by input: float64, in the shape of the input's row.

        Args:
          row: the inputs, with one row each.
          baseline: the float inputs of the baseline, in the same shapes.
          output: the model's name of the output.
          component: the place of the explained number in the output's row.
          steps: the number of points on the line at which gradients are computed, in one call.

        Raises:
          GradientsError: the output does not depend on float inputs in a way that can be differentiated, or TensorFlow
            fails.
        """
        points, weights = np.polynomial.legendre.leggauss(steps)
        points, weights = (points + 1) / 2, weights / 2
        floats = [name for name, values in row.items() if np.issubdtype(values.dtype, np.floating)]
        if not floats:
            raise GradientsError("no input holds floating-point numbers")
        fed = {name: np.repeat(values, steps, axis=0) for name, values in row.items()}
        distances = {name: row[name][0].astype(np.float64) - baseline[name][0].astype(np.float64) for name in floats}
        for name in floats:
            line = baseline[name][0] + np.multiply.outer(points, distances[name])
            fed[name] = line.astype(row[name].dtype)
        gradients = self._gradients(fed, floats, output, component)
        if all(gradient is None for gradient in gradients.values()):
            raise GradientsError(f"output {output!r} has no gradient")
        return {
            name: np.zeros(distances[name].shape)
            if gradient is None
            else np.tensordot(weights, gradient, axes=1) * distances[name]
            for name, gradient in gradients.items()
        }

    def _gradients(
        self, fed: Mapping[str, Array], floats: Sequence[str], output: str, component: Sequence[int]
    ) -> dict[str, Doubles | None]:
        """The gradient of the explained number at each row, by float input; None for inputs without a gradient."""
        tensorflow = tensorflow_module()
        try:
            tensors = {name: tensorflow.convert_to_tensor(values) for name, values in fed.items()}
            watched = {name: tensors[name] for name in floats}
            with tensorflow.GradientTape() as tape:
                tape.watch(watched)
                number = self._function(**tensors)[output][(slice(None), *component)]
                # The rows are independent, so the gradient of the sum has the gradient of each row.
                total = tensorflow.reduce_sum(number)
            found = tape.gradient(total, watched)
        except Exception as error:  # TensorFlow raises exceptions of its own, and LookupError without a gradient
            raise GradientsError(f"TensorFlow cannot compute gradients: {one_line(error)}") from error
        return {
            name: None if gradient is None else np.asarray(tensorflow.convert_to_tensor(gradient), np.float64)
            for name, gradient in found.items()
        }

    def close(self) -> None:
        """Deletes the model's files; its memory is left to the garbage collector."""
        self._loaded = self._function = None
        self._folder.cleanup()


def _load(model: Path, tags: Sequence[str]) -> Any:
    try:
        return tensorflow_module().saved_model.load(str(model), tags)
    except Exception as error:
        raise GradientsError(f"TensorFlow cannot open it for gradients: {one_line(error)}") from error
