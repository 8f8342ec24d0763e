"""modelType `lightgbm`: a model of LightGBM, run in this process (the extra `lightgbm` installs it).

The model is a text file, as `save_model` of a Booster writes it. It has no options. Features are float64; NaN, which a
null becomes, is a missing value.

A classifier (objectives binary and multiclass) has the outputs `prediction`, the number of the class, and
`probabilities`, one for each class; every other model has `prediction` only. For a model that stopped early, the best
iteration is used, which is the one that `save_model` writes.

Every call runs on the thread that makes it. A file that is cut off, of another kind, or whose trees contradict
themselves is rejected before LightGBM sees it, because LightGBM would end the process (`models.scorers.lightgbm_text`).
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from models.artifacts.fetching import FetchedModel
from models.artifacts.model_file import open_model_file
from models.errors import ModelLoadError
from models.scorers.base import ModelSource, Scorer
from models.scorers.feature_table import PREDICTION, Features, TableScorer, class_outputs, known_names, one_line
from models.scorers.in_process import ModelFolder, load_published
from models.scorers.lightgbm_text import checked_text
from models.tensors import Array

IN_PROCESS = True
SUFFIXES = (".txt", ".lgb", ".model")
CLASSIFYING = ("binary", "multiclass")

_OBJECTIVE = re.compile(r"^objective=(\w+)", re.MULTILINE)
_GENERATED_NAME = re.compile(r"Column_\d+")


def load(source: ModelSource) -> Scorer:
    """Fetches the model, checks its digest, and opens it.

    Raises:
      ScorerOptionError: there is an option.
      DigestMismatchError: the fetched model differs from the published one.
      ModelLoadError: the model is missing, broken or cut off.
    """
    return load_published(source, (), partial(_opened, source))


def prepare() -> None:
    """Does nothing: importing this module has already imported LightGBM."""


def _opened(source: ModelSource, fetched: FetchedModel, folder: ModelFolder) -> TableScorer:
    path = open_model_file(fetched.content, Path(folder.name) / "model", SUFFIXES)
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    folder.cleanup()
    booster = _open(checked_text(text))
    objective = _OBJECTIVE.search(text)
    classifying = objective is not None and objective.group(1) in CLASSIFYING
    names = booster.feature_name()
    given = None if all(map(_GENERATED_NAME.fullmatch, names)) else known_names(names)
    features = Features(given, len(names), np.dtype(np.float64))

    def predict(matrix: Array) -> dict[str, Array]:
        values = booster.predict(matrix, num_threads=1)
        return class_outputs(values) if classifying else {PREDICTION: values}

    return TableScorer(source, fetched.digest, features, predict)


def _open(text: str) -> Any:
    try:
        return lightgbm.Booster(model_str=text)
    except Exception as error:  # LightGBM also raises others than LightGBMError
        raise ModelLoadError(f"LightGBM cannot load it: {one_line(error)}") from error
