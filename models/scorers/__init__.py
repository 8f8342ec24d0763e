"""The table of scorers by modelType; a new scorer is one new file and one line in the table."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from models.errors import ModelLoadError, UnknownModelTypeError
from models.extras import extras_named

if TYPE_CHECKING:  # the command line reads this table, and must not be slowed down by an import of numpy
    from models.scorers.base import ModelSource, Scorer

_LOGGER = logging.getLogger(__name__)

SCORER_MODULES = {
    "tensorflow-saved-model": "models.scorers.tensorflow_saved_model",
    "tensorflow-serving-grpc": "models.scorers.tensorflow_serving_grpc",
    "tensorflow-serving-rest": "models.scorers.tensorflow_serving_rest",
}


def load_scorer(source: ModelSource) -> Scorer:
    """Loads the model of `source` with the scorer of its modelType.

    Raises:
      UnknownModelTypeError: when no scorer serves that modelType.
      MissingExtraError: when a package of the scorer is missing.
      ModelLoadError: when the scorer cannot serve the model.
    """
    scorer: Scorer = _module(source.descriptor.model_type).load(source)
    return scorer


def prepare_engines(model_types: Iterable[str]) -> None:
    """Imports the engines of these model types, so that no record has to wait for the import.

    It raises nothing: if an engine cannot be imported, or a model type is unknown, a warning is logged, and loading a
    model that needs it fails for the same reason.
    """
    for model_type in model_types:
        try:
            _module(model_type).prepare()
        except (ModelLoadError, ImportError) as error:
            _LOGGER.warning("the engine of model type %s cannot be imported: %s", model_type, error)


def _module(model_type: str) -> Any:
    if model_type not in SCORER_MODULES:
        known = ", ".join(sorted(SCORER_MODULES))
        raise UnknownModelTypeError(f"modelType {model_type!r} is not served; known types: {known}")
    with extras_named():
        return import_module(SCORER_MODULES[model_type])
