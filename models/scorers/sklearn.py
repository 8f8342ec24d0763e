"""modelType `sklearn`: an estimator or pipeline of scikit-learn, run in this process (the extra `sklearn` installs it).

The model is a .skops file, as `skops.io.dump` writes it. It has no options. Unlike a pickle, the file is data: it names
types, and is refused when it names one that neither skops nor this module trusts, which leaves those of numpy, scipy
and scikit-learn. What is in trees and other parts of scikit-learn in C is not checked further: a file that was made to
do harm could end the process, so publish no file of strangers. Pickle and joblib files are not served, because loading
one runs whatever code it contains.

Features are float64, and numbers only. The outputs are `prediction` (what `predict` gives) and, if the estimator has
`predict_proba`, `probabilities`. An estimator that would use several threads of its own uses one (`n_jobs`).
"""

from __future__ import annotations

import warnings
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import skops.io

from models.artifacts.fetching import FetchedModel
from models.artifacts.model_file import open_model_file
from models.errors import ModelLoadError
from models.scorers.base import ModelSource, Scorer
from models.scorers.feature_table import PREDICTION, PROBABILITIES, Features, TableScorer, known_names, one_line
from models.scorers.in_process import ModelFolder, load_published, names_text
from models.tensors import Array

IN_PROCESS = True
SUFFIXES = (".skops",)

# Parts of fitted estimators that only hold numbers. skops leaves them to its users: they are not public, or in C.
TRUSTED = frozenset(
    {
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.tree._tree.Tree",
    }
)

_SCHEMA = "schema.json"
_PICKLE_START = b"\x80"


def load(source: ModelSource) -> Scorer:
    """Fetches the model, checks its digest, and opens it.

    Raises:
      ScorerOptionError: when there is an option.
      DigestMismatchError: when the fetched model differs from the published one.
      ModelLoadError: when the model is missing or broken, names a type that is not trusted, or cannot predict.
    """
    return load_published(source, (), partial(_opened, source))


def prepare() -> None:
    """Imports the parts of scikit-learn that most models need, beyond what this module imports."""
    import sklearn.ensemble
    import sklearn.linear_model  # noqa: F401


def _opened(source: ModelSource, fetched: FetchedModel, folder: ModelFolder) -> TableScorer:
    estimator = _open(fetched.content, Path(folder.name) / "model")
    folder.cleanup()
    if not callable(getattr(estimator, "predict", None)):
        raise ModelLoadError(f"a {type(estimator).__name__} has no method predict")
    width = getattr(estimator, "n_features_in_", None)
    if not isinstance(width, (int, np.integer)):
        raise ModelLoadError(f"the {type(estimator).__name__} does not know its number of features; fit it first")
    features = Features(known_names(_names(estimator)), int(width), np.dtype(np.float64))
    return TableScorer(source, fetched.digest, features, partial(_predict, estimator))


def _open(content: bytes | Path, folder: Path) -> Any:
    path = _model_file(content, folder)
    try:
        named = set(skops.io.get_untrusted_types(file=path))
        if named - TRUSTED:
            raise ModelLoadError(f"the model names types that are not trusted: {names_text(named - TRUSTED)}")
        estimator = skops.io.load(path, trusted=sorted(named))
        several = {name: 1 for name in estimator.get_params() if name.rpartition("__")[2] == "n_jobs"}
        return estimator.set_params(**several)
    except ModelLoadError:
        raise
    except Exception as error:  # a damaged file can lead skops anywhere
        raise ModelLoadError(f"scikit-learn cannot load it: {one_line(error)}") from error


def _model_file(content: bytes | Path, folder: Path) -> Path:
    """The .skops file, which is a zip file itself, and may be in another one."""
    if isinstance(content, bytes):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "model.skops"
        path.write_bytes(content)
        content = path
    if content.is_file() and not _is_skops(content):
        if content.read_bytes().startswith(_PICKLE_START):
            raise ModelLoadError("it is a pickle, which may run any code; save the model with skops.io.dump")
        content = content.rename(content.with_suffix(".zip"))
    path = open_model_file(content, folder, SUFFIXES)
    if not _is_skops(path):
        raise ModelLoadError("it is not a file of skops; save the model with skops.io.dump")
    return path


def _is_skops(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return _SCHEMA in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _names(estimator: Any) -> list[str] | None:
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def _predict(estimator: Any, matrix: Array) -> dict[str, Array]:
    with warnings.catch_warnings():
        # The columns are in the order of the names, which an array cannot show.
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        outputs = {PREDICTION: estimator.predict(matrix)}
        if hasattr(estimator, "predict_proba"):
            outputs[PROBABILITIES] = estimator.predict_proba(matrix)
    return outputs
