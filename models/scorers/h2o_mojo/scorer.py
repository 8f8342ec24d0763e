"""modelType `h2o-mojo`: a model of H2O in a MOJO file, run in this process by H2O's own genmodel (extra `h2o`).

The model is a .zip or .mojo file, as `save_mojo` writes it. Its inputs are the columns of the training data: float64
for numbers, where NaN is a missing value, and text for categories, where the empty text is a missing value. A level
that the model does not know is an error, as in H2O's EasyPredict; the option `unknown-levels=missing` scores it as a
missing value.

The outputs are `prediction` and those that depend on the category of the model (`_OUTPUTS`). The threshold in the file
decides the label of a binary classifier.

It needs Java 11 or newer, and the jars that `models.scorers.h2o_mojo.jars` describes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jpype
import numpy as np
import numpy.typing as npt

from models.artifacts.fetching import FetchedModel
from models.artifacts.model_file import open_model_file
from models.errors import ModelLoadError, ScoringError
from models.java_machine import java_class
from models.scorers.base import ModelSource, Scorer
from models.scorers.called import CalledScorer, Callee
from models.scorers.feature_table import PREDICTION, PROBABILITIES, SIGNATURE
from models.scorers.h2o_mojo.columns import Column, category, matrix_of
from models.scorers.h2o_mojo.jars import usable_jars
from models.scorers.h2o_mojo.mojo_file import MojoInfo, read_info
from models.scorers.in_process import ModelFolder, engine_text, load_published
from models.scorers.option_reader import OptionReader
from models.tensors import Array, Signature, TensorSpec

IN_PROCESS = True
SUFFIXES = (".zip", ".mojo")
UNKNOWN_LEVELS = "unknown-levels"
CALIBRATED = "calibrated_probabilities"

_MODEL_CLASS = "hex.genmodel.MojoModel"
_BATCHES_CLASS = "serving.h2o.Batches"
_CLASSIFIERS = ("Binomial", "Multinomial", "Ordinal")

Numbers = npt.NDArray[np.float64]


def load(source: ModelSource) -> Scorer:
    """Fetches the model, checks its digest, and loads it with genmodel.

    Raises:
      ScorerOptionError: an option is unknown or has a wrong value.
      DigestMismatchError: the fetched model differs from the published one.
      JavaMachineError: Java is missing, or cannot be used in this process.
      JarsMissingError: the jars of genmodel are missing or are not the expected ones.
      ModelLoadError: the model is missing, broken, or of a kind that is not served; the message names the kind.
    """
    return load_published(source, (UNKNOWN_LEVELS,), partial(_opened, source))


def prepare() -> None:
    """Starts Java and loads genmodel, which takes half a second; raises the same errors as `load`."""
    java_class(_BATCHES_CLASS, usable_jars())
    java_class(_MODEL_CLASS, usable_jars())


@dataclass(frozen=True)
class Mojo:
    """A loaded model.

    Attributes:
      model: the model as an object of genmodel.
      batches: our Java class.
      columns: the features, in the model's order.
      labels: the labels of the classes as bytes; empty unless it is a classifier.
      category: H2O's name for the category of the model.
      size: the number of values that genmodel returns for each row.
      unknown_is_missing: whether an unknown level counts as a missing value; otherwise it is an error.
    """

    model: Any
    batches: Any
    columns: tuple[Column, ...]
    labels: Array
    category: str
    size: int
    unknown_is_missing: bool

    def inputs(self) -> dict[str, TensorSpec]:
        """The inputs of the signature."""
        return {column.name: column.spec() for column in self.columns}

    def outputs(self, inputs: Mapping[str, Array], rows: int) -> dict[str, Array]:
        """Scores at least one row; raises ScoringError for an unknown level, or when genmodel fails."""
        matrix = matrix_of(self.columns, inputs, rows, self.unknown_is_missing)
        try:
            scored = self.batches.score(self.model, jpype.JArray.of(matrix.ravel()), rows)
            found = _OUTPUTS[self.category](self, _rows(scored, rows))
            if self.category in _CLASSIFIERS and self.batches.isCalibrated(self.model):
                found[CALIBRATED] = _rows(self.batches.calibrate(self.model, scored, rows), rows)[:, 1:]
        except jpype.JException as error:
            raise ScoringError(f"genmodel cannot score it: {_java_text(error)}") from error
        return found


def _rows(scored: Any, rows: int) -> Numbers:
    return np.array(scored, np.float64).reshape(rows, -1)


def _class_outputs(mojo: Mojo, scored: Numbers) -> dict[str, Array]:
    return {PREDICTION: mojo.labels[scored[:, 0].astype(np.int64)], PROBABILITIES: scored[:, 1:]}


def _number_outputs(mojo: Mojo, scored: Numbers) -> dict[str, Array]:
    return {PREDICTION: scored[:, 0]}


def _cluster_outputs(mojo: Mojo, scored: Numbers) -> dict[str, Array]:
    return {PREDICTION: scored[:, 0].astype(np.int64)}


def _anomaly_outputs(mojo: Mojo, scored: Numbers) -> dict[str, Array]:
    """The normalised score and the raw score; a model that was trained to flag anomalies also has the flag."""
    if mojo.size == 2:
        return {PREDICTION: scored[:, 0], "score": scored[:, 1]}
    return {PREDICTION: scored[:, 1], "score": scored[:, 2], "is_anomaly": scored[:, 0] == 1}


_OUTPUTS: Mapping[str, Callable[[Mojo, Numbers], dict[str, Array]]] = {
    "AnomalyDetection": _anomaly_outputs,
    "Binomial": _class_outputs,
    "Clustering": _cluster_outputs,
    "Multinomial": _class_outputs,
    "Ordinal": _class_outputs,
    "Regression": _number_outputs,
}


def _opened(source: ModelSource, fetched: FetchedModel, folder: ModelFolder) -> CalledScorer:
    options = OptionReader(source.descriptor.options)
    unknown_is_missing = options.choice(UNKNOWN_LEVELS, ("error", "missing")) == "missing"
    path = _model_file(fetched.content, Path(folder.name) / "model")
    info = read_info(path)
    mojo = _read(path, info, unknown_is_missing)
    folder.cleanup()
    return CalledScorer(source, fetched.digest, Callee(mojo.outputs, Signature(SIGNATURE, mojo.inputs(), {})))


def _model_file(content: bytes | Path, folder: Path) -> Path:
    """The file of the model, which is a zip file itself."""
    if isinstance(content, Path) and content.is_dir():
        return open_model_file(content, folder, SUFFIXES)
    if isinstance(content, Path):
        return content
    folder.mkdir(parents=True)
    path = folder / "model.zip"
    path.write_bytes(content)
    return path


def _read(path: Path, info: MojoInfo, unknown_is_missing: bool) -> Mojo:
    jars = usable_jars()
    batches = java_class(_BATCHES_CLASS, jars)
    try:
        model = java_class(_MODEL_CLASS, jars).load(str(path))
        encoding = str(model.getCategoricalEncoding())
        if encoding != "AUTO":
            raise ModelLoadError(f"the model has the categorical encoding {encoding}, which is not served")
        return Mojo(
            model,
            batches,
            tuple(_column(model, place) for place in range(int(model.nfeatures()))),
            _labels(model, info.category),
            info.category,
            int(batches.size(model)),
            unknown_is_missing,
        )
    except jpype.JException as error:
        raise ModelLoadError(f"genmodel cannot load it: {_java_text(error)}") from error


def _column(model: Any, place: int) -> Column:
    name = str(model.getNames()[place])
    levels = model.getDomainValues(place)
    return Column(name) if levels is None else category(name, [str(level) for level in levels])


def _labels(model: Any, category_name: str) -> Array:
    levels = model.getDomainValues(model.getResponseIdx()) if category_name in _CLASSIFIERS else ()
    texts = np.empty(len(levels or ()), object)
    texts[:] = [str(level).encode() for level in levels or ()]
    return texts


def _java_text(error: Any) -> str:
    """The class and the text of a Java exception, on one line."""
    return engine_text(error, str(error.toString()))
