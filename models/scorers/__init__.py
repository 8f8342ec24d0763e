"""Scorers by modelType: a new one is one new file and one line in this table."""

from __future__ import annotations

from importlib import import_module

from models.errors import UnknownModelTypeError
from models.extras import extras_named
from models.scorers.base import ModelSource, Scorer

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
    model_type = source.descriptor.model_type
    if model_type not in SCORER_MODULES:
        known = ", ".join(sorted(SCORER_MODULES))
        raise UnknownModelTypeError(f"modelType {model_type!r} is not served; known types: {known}")
    with extras_named():
        module = import_module(SCORER_MODULES[model_type])
    scorer: Scorer = module.load(source)
    return scorer
