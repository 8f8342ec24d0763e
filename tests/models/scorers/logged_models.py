"""Models saved by MLflow itself, as when it logs them, but without its slow search for the packages that they need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.lightgbm
import mlflow.onnx
import mlflow.pyfunc
import mlflow.sklearn
import mlflow.tensorflow
import mlflow.xgboost
from mlflow.models import infer_signature

from models.tensors import Array


def save(flavour: Any, path: Path, model: Any, example: Any, **more: Any) -> Path:
    """Saves a model with the module of a flavour; `example` defines the signature, and None means no signature."""
    signature = None if example is None else infer_signature(example)
    flavour.save_model(model, str(path), signature=signature, pip_requirements=["numpy"], **more)
    return path


def save_sklearn(path: Path, model: Any, example: Array) -> Path:
    """Saves an estimator in skops format."""
    trusted = ["sklearn.tree._tree.Tree"]  # without it MLflow saves no forest
    return save(mlflow.sklearn, path, model, example, serialization_format="skops", skops_trusted_types=trusted)


class RowSums(mlflow.pyfunc.PythonModel):
    """The model's own code: the sum of the numbers of a row, and its text in capitals."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        """Returns a table with the columns total and shout."""
        import pandas as pd

        total = model_input[["a", "b"]].sum(axis=1)
        return pd.DataFrame({"total": total, "shout": model_input["word"].str.upper()})


def save_function(path: Path, example: Any) -> Path:
    """Saves `RowSums` as a cloudpickle pickle."""
    mlflow.pyfunc.save_model(
        str(path), python_model=RowSums(), signature=infer_signature(example), pip_requirements=["numpy"]
    )
    return path
