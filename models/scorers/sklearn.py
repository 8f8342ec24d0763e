"""modelType `sklearn`: an estimator or pipeline of scikit-learn, run in this process (the extra `sklearn` installs it).

The model is a .skops file, as `skops.io.dump` writes it. It has no options. Unlike a pickle, the file is data: it names
types, and is rejected when it names one that neither skops nor this module trusts, which leaves those of numpy, scipy
and scikit-learn. The content of trees and of other parts of scikit-learn that are written in C is not checked further:
a malicious file could end the process, so do not publish files from sources that you do not trust.

Pickle and joblib files are rejected unless the deployment allows them (`models.artifacts.pickles`), because loading one
runs whatever code it contains. A file written by another version of scikit-learn is rejected in any case, because it
may load and give wrong answers.

Features are float64, and numbers only. The outputs are `prediction` (the result of `predict`) and, if the estimator has
`predict_proba`, `probabilities`. An estimator that would start several threads is limited to one (`n_jobs`).
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from sklearn.base import BaseEstimator
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import Pipeline

from models.artifacts.archive import check_archive
from models.artifacts.fetching import FetchedModel
from models.artifacts.model_file import open_model_file
from models.artifacts.pickles import is_pickle
from models.errors import ModelLoadError
from models.scorers.base import ModelSource, Scorer
from models.scorers.feature_table import PREDICTION, PROBABILITIES, Features, TableScorer, known_names, one_line
from models.scorers.in_process import ModelFolder, load_published, names_text
from models.tensors import Array

IN_PROCESS = True
SUFFIXES = (".skops", ".pkl", ".pickle", ".joblib")

# Parts of fitted estimators that only hold numbers. skops leaves the decision to its users, because these types are not
# public, or are written in C.
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
# The `predict` methods that call predict_proba and return the class with the largest probability, or the first of
# equals.
_LIKELIEST = (RandomForestClassifier.predict, BaggingClassifier.predict)


def load(source: ModelSource) -> Scorer:
    """Fetches the model, checks its digest, and opens it.

    Raises:
      ScorerOptionError: there is an option.
      DigestMismatchError: the fetched model differs from the published one.
      PickleRefusedError: it is a pickle that the deployment does not allow.
      ModelLoadError: the model is missing or broken, names a type that is not trusted, or cannot predict.
    """
    return load_published(source, (), partial(_opened, source))


def prepare() -> None:
    """Imports the parts of scikit-learn that most models need, beyond what this module imports."""
    import sklearn.ensemble
    import sklearn.linear_model  # noqa: F401


def _opened(source: ModelSource, fetched: FetchedModel, folder: ModelFolder) -> TableScorer:
    path = _model_file(fetched.content, Path(folder.name) / "model")
    if _is_skops(path):
        estimator = _read(partial(_from_skops, path))
    elif is_pickle(path):
        source.pickles.check(source.descriptor, fetched.digest)
        estimator = _read(partial(_from_pickle, path))
    else:
        raise ModelLoadError("it is not a skops file; save the model with skops.io.dump")
    folder.cleanup()
    if not callable(getattr(estimator, "predict", None)):
        raise ModelLoadError(f"a {type(estimator).__name__} has no method predict")
    width = getattr(estimator, "n_features_in_", None)
    if not isinstance(width, (int, np.integer)):
        raise ModelLoadError(f"the {type(estimator).__name__} does not know its number of features; fit it first")
    features = Features(known_names(_names(estimator)), int(width), np.dtype(np.float64))
    return TableScorer(source, fetched.digest, features, partial(_predict, estimator))


def _read(read: Callable[[], Any]) -> Any:
    """The estimator that a file contains, set to one thread."""
    try:
        estimator = read()
        if not isinstance(estimator, BaseEstimator):
            raise ModelLoadError(f"it contains a {type(estimator).__name__}, which is not an estimator")
        several = {name: 1 for name in estimator.get_params() if name.rpartition("__")[2] == "n_jobs"}
        return estimator.set_params(**several)
    except ModelLoadError:
        raise
    except Exception as error:  # a damaged file can cause any exception
        raise ModelLoadError(f"scikit-learn cannot load it: {one_line(error)}") from error


def _from_skops(path: Path) -> Any:
    check_archive(path)  # skops reads a whole member into memory, however large it becomes
    named = set(skops.io.get_untrusted_types(file=path))
    if named - TRUSTED:
        raise ModelLoadError(f"the model names types that are not trusted: {names_text(named - TRUSTED)}")
    return skops.io.load(path, trusted=sorted(named))


def _from_pickle(path: Path) -> Any:
    """Runs whatever code the file contains; joblib also reads pickle files."""
    import joblib

    with warnings.catch_warnings():
        warnings.simplefilter("error", InconsistentVersionWarning)
        return joblib.load(path)


def _model_file(content: bytes | Path, folder: Path) -> Path:
    """The file of the model; a .skops file is a zip file itself, and may be in another one."""
    if isinstance(content, bytes):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "model.skops"
        path.write_bytes(content)
        content = path
    if content.is_file() and not _is_skops(content) and not is_pickle(content):
        content = content.rename(content.with_suffix(".zip"))
    return open_model_file(content, folder, SUFFIXES)


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
        # The columns are in the order of the feature names, but an array carries no names.
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        if (classes := _classes(estimator)) is not None:  # predict would compute the same probabilities again
            probabilities = estimator.predict_proba(matrix)
            return {PREDICTION: classes.take(probabilities.argmax(axis=1)), PROBABILITIES: probabilities}
        outputs = {PREDICTION: estimator.predict(matrix)}
        if hasattr(estimator, "predict_proba"):
            outputs[PROBABILITIES] = estimator.predict_proba(matrix)
    return outputs


def _classes(estimator: Any) -> Any:
    """The classes of an estimator that predicts the one with the largest probability; None for any other."""
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    likeliest = getattr(type(last), "predict", None) in _LIKELIEST and getattr(last, "n_outputs_", 1) == 1
    return last.classes_ if likeliest else None
