"""modelType `xgboost`: a model of XGBoost, run in this process (the extra `xgboost` installs it).

The model is a .json or .ubj file (UBJSON), as `save_model` of a Booster, XGBClassifier or XGBRegressor writes it. It
has no options. Features are float32; NaN, which a null becomes, is a missing value.

A classifier (objectives binary:logistic and multi:softprob) has the outputs `prediction`, the number of the class, and
`probabilities`, one for each class; every other model has `prediction` only. For a model that stopped early, the best
iteration is used, as in XGBoost's own scikit-learn interface. Categorical features are rejected.

Every call runs on the thread that makes it. A file that is cut off or of another kind is rejected before XGBoost sees
it: an empty file ended the process, and one that was cut off hung it. The content of the trees is not checked, so do
not publish files from sources that you do not trust.
"""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import xgboost

from models.artifacts.fetching import FetchedModel
from models.artifacts.model_file import open_model_file
from models.artifacts.ubjson import check_ubjson
from models.errors import ModelLoadError
from models.scorers.base import ModelSource, Scorer
from models.scorers.feature_table import PREDICTION, Features, TableScorer, class_outputs, known_names, one_line
from models.scorers.in_process import ModelFolder, load_published
from models.tensors import Array

IN_PROCESS = True
SUFFIXES = (".json", ".ubj")
# Both formats begin with a brace; in UBJSON, the marker of a number follows it.
_JSON = re.compile(rb"\{[\s\"}]")
_LEARNER = re.compile(rb"\{L.{8}learner\{", re.DOTALL)  # as XGBoost writes it
CLASSIFYING = ("binary:logistic", "multi:softprob")


def load(source: ModelSource) -> Scorer:
    """Fetches the model, checks its digest, and opens it.

    Raises:
      ScorerOptionError: there is an option.
      DigestMismatchError: the fetched model differs from the published one.
      ModelLoadError: the model is missing or broken, or has categorical features.
    """
    return load_published(source, (), partial(_opened, source))


def prepare() -> None:
    """Does nothing: importing this module has already imported XGBoost."""


def _opened(source: ModelSource, fetched: FetchedModel, folder: ModelFolder) -> TableScorer:
    path = open_model_file(fetched.content, Path(folder.name) / "model", SUFFIXES)
    booster, objective = _open(path.read_bytes())
    folder.cleanup()
    if any(kind == "c" for kind in booster.feature_types or ()):
        raise ModelLoadError("the model has categorical features, which are not served; encode them as numbers")
    features = Features(known_names(booster.feature_names), booster.num_features(), np.dtype(np.float32))
    iterations = _iterations(booster)

    def predict(matrix: Array) -> dict[str, Array]:
        values = booster.inplace_predict(matrix, iteration_range=iterations)
        return class_outputs(values) if objective in CLASSIFYING else {PREDICTION: values}

    return TableScorer(source, fetched.digest, features, predict)


def _open(content: bytes) -> tuple[Any, str]:
    """The model and its objective."""
    check_whole(content)
    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(content))
        booster.set_param({"nthread": 1})
        objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
    except Exception as error:  # XGBoost also raises others than XGBoostError
        raise ModelLoadError(f"XGBoost cannot load it: {one_line(error)}") from error
    return booster, str(objective)


def check_whole(content: bytes) -> None:
    """Raises ModelLoadError for a file that is truncated or of another kind."""
    if _JSON.match(content):
        try:
            model = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise ModelLoadError(f"the model is not JSON: {error}") from error
        if not isinstance(model.get("learner"), dict):
            raise ModelLoadError("the model has no learner; save it with save_model of XGBoost")
        return
    check_ubjson(content)
    if not _LEARNER.match(content):
        raise ModelLoadError("the model has no learner; save it with save_model of XGBoost")


def _iterations(booster: Any) -> tuple[int, int]:
    try:
        return 0, int(booster.best_iteration) + 1
    except AttributeError:  # the training did not stop early
        return 0, 0
