"""The flavour `python_function` of modelType `mlflow`: the model's own code, called by MLflow.

Rows are passed as MLflow's signature specifies: columns as a DataFrame with texts as str, tensors as arrays. A returned
DataFrame or dict becomes one output for each column; any other value is the output `prediction`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd

from models.artifacts.mlmodel import FILE_NAME, MlflowModel
from models.errors import ModelLoadError, ScoringError
from models.scorers.base import ModelSource
from models.scorers.called import CalledScorer, Callee
from models.scorers.feature_table import PREDICTION
from models.scorers.in_process import ModelFolder, as_outputs, engine_text
from models.tensors import Array, Signature

SIGNATURE = "predict"
UNNAMED = "inputs"
_TEXT = np.dtype(object)


def open_function(source: ModelSource, digest: str, model: MlflowModel, folder: ModelFolder) -> CalledScorer:
    """Loads the function. This runs code of the model, so the caller must have checked that it is allowed.

    Args:
      source: the model.
      digest: the digest of the published model.
      model: the content of its file MLmodel.
      folder: the folder with the model's files, which is deleted when the scorer is closed.

    Raises:
      ModelLoadError: the model has no signature, or its code fails.
    """
    if model.inputs is None:
        raise ModelLoadError(
            f"{FILE_NAME} has no signature, so its inputs are unknown; log the model with an input example"
        )
    function = _loaded(model)
    specs = {spec.name or UNNAMED: spec for spec in model.inputs}
    named = model.columns or model.inputs[0].name != ""

    def call(inputs: Mapping[str, Array], rows: int) -> dict[str, Array]:
        given: Any = {name: _texts(inputs[name]) for name in specs}
        if model.columns:
            given = pd.DataFrame(given)
        elif not named:
            given = given[UNNAMED]
        try:
            returned = function.predict(given)
        except Exception as error:  # the code is the model's own
            raise ScoringError(f"{type(error).__name__}: {engine_text(error, str(error))}") from error
        return as_outputs(_named(returned), rows)

    return CalledScorer(source, digest, Callee(call, Signature(SIGNATURE, specs), folder.cleanup))


def _loaded(model: MlflowModel) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow warns about versions of packages that may not be installed here
            return mlflow.pyfunc.load_model(str(model.folder), suppress_warnings=True)
    except Exception as error:  # the code is the model's own
        text = engine_text(error, str(error))
        raise ModelLoadError(f"MLflow cannot load it: {type(error).__name__}: {text}") from error


def _named(returned: Any) -> Mapping[str, Any]:
    if isinstance(returned, pd.DataFrame):
        return {str(name): returned[name].to_numpy() for name in returned.columns}
    return returned if isinstance(returned, Mapping) else {PREDICTION: returned}


def _texts(values: Array) -> Array:
    """Texts as str; other values unchanged."""
    if values.dtype != _TEXT:
        return values
    texts = np.empty(values.size, object)
    try:
        texts[:] = [value.decode() for value in values.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise ScoringError(f"an input holds a text that is not UTF-8: {error}") from error
    return texts.reshape(values.shape)
