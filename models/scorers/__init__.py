"""The table of scorers by modelType; a new scorer is one new file and one line in the table.

Other packages add scorers without a change here, by entry points of the group `beam_serving.scorers`. The name of an
entry point is the modelType, and its value is the module (`models.scorers.base` describes its contents)::

    [project.entry-points."beam_serving.scorers"]
    acme-trees = "acme.serving.trees"
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, cast

from models.entry_points import described, installed, load_claim
from models.errors import EntryPointError, ModelLoadError, ScorerEntryPointError, UnknownModelTypeError
from models.extras import extras_named

if TYPE_CHECKING:  # the command line reads this table, and must not be slowed down by an import of numpy
    from models.scorers.base import ModelSource, Scorer, ScorerModule

_LOGGER = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "beam_serving.scorers"

SCORER_MODULES = {
    "h2o-mojo": "models.scorers.h2o_mojo.scorer",
    "keras": "models.scorers.tensorflow.keras",
    "lightgbm": "models.scorers.lightgbm",
    "mlflow": "models.scorers.mlflow.scorer",
    "onnx": "models.scorers.onnx",
    "open-inference-grpc": "models.scorers.servers.open_inference_grpc",
    "open-inference-rest": "models.scorers.servers.open_inference_rest",
    "pfa": "models.scorers.pfa.scorer",
    "pmml": "models.scorers.pmml.scorer",
    "python": "models.scorers.python",
    "pytorch": "models.scorers.pytorch.scorer",
    "sklearn": "models.scorers.sklearn",
    "tensorflow-graph": "models.scorers.tensorflow.graph",
    "tensorflow-lite": "models.scorers.tensorflow.lite",
    "tensorflow-saved-model": "models.scorers.tensorflow.saved_model",
    "tensorflow-serving-grpc": "models.scorers.servers.tensorflow_serving_grpc",
    "tensorflow-serving-rest": "models.scorers.servers.tensorflow_serving_rest",
    "xgboost": "models.scorers.xgboost",
}


def model_types() -> tuple[str, ...]:
    """All modelTypes in sorted order, those of the table and of other packages. Imports none of the scorers."""
    return tuple(sorted({*SCORER_MODULES, *installed(ENTRY_POINT_GROUP)}))


def load_scorer(source: ModelSource) -> Scorer:
    """Loads the model of `source` with the scorer of its modelType.

    Raises:
      UnknownModelTypeError: no scorer serves that modelType.
      ScorerEntryPointError: another package claims that modelType, and the claim is not valid.
      MissingExtraError: a package of the scorer is missing.
      ModelLoadError: the scorer cannot serve the model.
    """
    return _module(source.descriptor.model_type).load(source)


def runs_in_process(model_type: str) -> bool:
    """Whether models of this type score in the worker's process; otherwise they are on a server.

    Imports the module of the scorer, and raises the same errors as `load_scorer`.
    """
    return _module(model_type).IN_PROCESS


def prepare_engines(model_types: Iterable[str]) -> None:
    """Imports the engines of these model types, so that no record has to wait for the import.

    Raises nothing: if an engine cannot be imported or a model type is unknown, a warning is logged, and loading a model
    that needs it fails for the same reason.
    """
    for model_type in model_types:
        try:
            _module(model_type).prepare()
        except (ModelLoadError, ImportError) as error:
            _LOGGER.warning("the engine of model type %s cannot be imported: %s", model_type, error)


def _module(model_type: str) -> ScorerModule:
    claims = installed(ENTRY_POINT_GROUP).get(model_type, ())
    if claims:
        return _loaded_entry_point(model_type, claims)
    if model_type not in SCORER_MODULES:
        raise UnknownModelTypeError(f"modelType {model_type!r} is not served; known types: {', '.join(model_types())}")
    with extras_named():
        return cast("ScorerModule", import_module(SCORER_MODULES[model_type]))


def _loaded_entry_point(model_type: str, claims: tuple[EntryPoint, ...]) -> ScorerModule:
    text = " and ".join(map(described, claims))
    if model_type in SCORER_MODULES:
        raise ScorerEntryPointError(
            f"modelType {model_type!r} is built in, so {text} may not claim it; uninstall that package, or rename "
            "its entry point"
        )
    try:
        module = load_claim(claims, f"modelType {model_type!r}")
    except EntryPointError as error:
        raise ScorerEntryPointError(str(error)) from error.__cause__
    missing = [name for name in ("load", "prepare") if not callable(getattr(module, name, None))]
    if not isinstance(getattr(module, "IN_PROCESS", None), bool):
        missing.append("IN_PROCESS")
    if missing:
        raise ScorerEntryPointError(
            f"modelType {model_type!r}: {text} is not a scorer, because it lacks {', '.join(missing)}; see "
            "models.scorers.base"
        )
    return cast("ScorerModule", module)
