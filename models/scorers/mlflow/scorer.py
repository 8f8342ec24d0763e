"""modelType `mlflow`: a model that MLflow has logged, run in this process by the scorer of its flavour.

The model is a folder with the file `MLmodel`, or a zip file of it. The first flavour in this list that the model has is
used, without the mlflow package (each flavour needs the extra of its scorer):

==============  ====================================================================
flavour         scored as
==============  ====================================================================
`onnx`          `onnx`
`xgboost`       `xgboost`
`lightgbm`      `lightgbm`; an LGBMClassifier or LGBMRegressor is saved as `sklearn`
`sklearn`       `sklearn`
`tensorflow`    `keras` or `tensorflow-saved-model`
==============  ====================================================================

Any other model is scored by its flavour `python_function` (the extra `mlflow` installs what it needs). That runs code
from the model's folder, so the deployment must allow it (`models.artifacts.pickles`), as it must allow pickles.

The inputs have the names, types and shapes of MLflow's signature; without a signature, they are those of the flavour's
scorer. If the model takes one matrix, columns fill it in their order. The outputs are those of the flavour's scorer.

Options
  flavour   the flavour to use, if not the first: `python_function`, for example, for a pipeline whose steps select
            columns of a DataFrame by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from models.artifacts.archive import extract
from models.artifacts.digest import digest_of_path
from models.artifacts.fetching import FetchedModel
from models.artifacts.mlmodel import FILE_NAME, MlflowModel, read_mlmodel
from models.artifacts.pickles import NO_PICKLES, AllowedPickles, is_pickle
from models.errors import ModelLoadError, ScorerOptionError
from models.extras import extras_named
from models.model_topic.descriptor import ModelDescriptor
from models.scorers import load_scorer
from models.scorers.base import ModelSource, Scorer, Scores
from models.scorers.in_process import (
    InProcessScorer,
    ModelFolder,
    check_inputs,
    check_shapes,
    load_published,
    names_text,
    title_of,
)
from models.scorers.mlflow.inputs import Adapter, adapted
from models.tensors import Array, Signature

IN_PROCESS = True
FLAVOUR = "flavour"
FUNCTION = "python_function"
FUNCTION_TEXT = "a python_function of MLflow, and loading one runs code from its folder"


@dataclass(frozen=True)
class Engine:
    """The scorer of a flavour, and the file or folder that it loads."""

    model_type: str
    path: Path


@dataclass(frozen=True)
class InPlaceOpener:
    """An `Opener` for a path that has already been fetched and is this process's own copy."""

    def download(self, location: str, folder: Path) -> Path:
        """The location itself, which is a path."""
        return Path(location)


def load(source: ModelSource) -> Scorer:
    """Fetches the model, checks its digest, and opens it with the scorer of its flavour.

    Raises:
      ScorerOptionError: an option is unknown, or names a flavour that the model lacks.
      DigestMismatchError: the fetched model differs from the published one.
      PickleRefusedError: loading it runs code that the deployment does not allow.
      MissingExtraError: the packages of its flavour are missing.
      ModelLoadError: the model is missing or broken, has no flavour that is served, or its signature does not fit.
    """
    return load_published(source, (FLAVOUR,), partial(_opened, source))


def prepare() -> None:
    """Does nothing: the engine of a flavour is imported with the first model that needs it."""


class MlflowScorer(InProcessScorer):
    """A model of MLflow: the scorer of its flavour behind the inputs of its signature."""

    def __init__(
        self, descriptor: ModelDescriptor, digest: str, scorer: Scorer, adapter: Adapter, folder: ModelFolder
    ) -> None:
        inner = scorer.signature
        super().__init__(descriptor, digest, Signature(inner.name, adapter.inputs, inner.outputs))
        self._scorer = scorer
        self._adapt = adapter.adapt
        self._folder = folder

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        """Scores rows.

        Raises:
          ScoringError: the inputs are not those of the signature, or the scorer of the flavour fails.
        """
        rows = check_inputs(inputs, self._signature.inputs)
        check_shapes(inputs, self._signature.inputs, rows)
        return self._scorer.score(self._adapt(inputs))

    def close(self) -> None:
        """Frees the memory of the model, and deletes its files."""
        self._scorer.close()
        self._folder.cleanup()


def _opened(source: ModelSource, fetched: FetchedModel, folder: ModelFolder) -> Scorer:
    model = read_mlmodel(_mlmodel_file(fetched.content, Path(folder.name) / "unpacked"))
    flavour = _flavour(model, source.descriptor.options.get(FLAVOUR))
    if flavour == FUNCTION:
        source.pickles.check(source.descriptor, fetched.digest, FUNCTION_TEXT)
        with extras_named():
            from models.scorers.mlflow.function import open_function
        return open_function(source, fetched.digest, model, folder)
    engine = ENGINES[flavour](model)
    scorer = _inner(source, fetched.digest, engine)
    try:
        adapter = adapted(model.inputs, scorer.signature.inputs)
    except ModelLoadError:
        scorer.close()
        raise
    return MlflowScorer(source.descriptor, fetched.digest, scorer, adapter, folder)


def _inner(source: ModelSource, digest: str, engine: Engine) -> Scorer:
    """The scorer of the flavour. It may load a pickle only if the deployment allows the whole model."""
    pickles = NO_PICKLES
    if engine.path.is_file() and is_pickle(engine.path):
        source.pickles.check(source.descriptor, digest)
        pickles = AllowedPickles(digests=frozenset({digest_of_path(engine.path)}))
    descriptor = replace(
        source.descriptor,
        model_type=engine.model_type,
        model_source_location=str(engine.path),
        digest=None,
        inputs={},
        options={},
        golden=None,
    )
    try:
        return load_scorer(ModelSource(descriptor, None, InPlaceOpener(), source.warm_up, pickles))
    except ModelLoadError as error:  # the caller adds the title again
        raise type(error)(str(error).removeprefix(f"{title_of(descriptor)}: ")) from error


def _flavour(model: MlflowModel, wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in model.flavours:
            raise ScorerOptionError(f"option {FLAVOUR}: the model has no {wanted!r}, only {names_text(model.flavours)}")
        if wanted not in (*ENGINES, FUNCTION):
            raise ScorerOptionError(f"option {FLAVOUR}: {wanted!r} is not one of {names_text([*ENGINES, FUNCTION])}")
        return wanted
    found = next((one for one in (*ENGINES, FUNCTION) if one in model.flavours), None)
    if found is None:
        raise ModelLoadError(
            f"none of its flavours ({names_text(model.flavours)}) is served; log the model with one of "
            f"{names_text([*ENGINES, FUNCTION])}"
        )
    return found


def _onnx(model: MlflowModel) -> Engine:
    # Weights may be in separate files beside this one.
    return Engine("onnx", model.file("onnx", "data").parent)


def _xgboost(model: MlflowModel) -> Engine:
    return Engine("xgboost", model.file("xgboost", "data"))


def _lightgbm(model: MlflowModel) -> Engine:
    native = str(model.flavours["lightgbm"].get("model_class", "lightgbm.basic.Booster")) == "lightgbm.basic.Booster"
    return Engine("lightgbm" if native else "sklearn", model.file("lightgbm", "data"))


def _sklearn(model: MlflowModel) -> Engine:
    return Engine("sklearn", model.file("sklearn", "pickled_model"))


def _tensorflow(model: MlflowModel) -> Engine:
    path = model.file("tensorflow", "saved_model_dir", "data")
    if (path / "model.keras").is_file():
        return Engine("keras", path / "model.keras")
    return Engine("tensorflow-saved-model", path / "model" if (path / "model").is_dir() else path)


# In order of preference: a model with the flavour xgboost may also have the flavour sklearn.
ENGINES: Mapping[str, Callable[[MlflowModel], Engine]] = {
    "onnx": _onnx,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "sklearn": _sklearn,
    "tensorflow": _tensorflow,
}


def _mlmodel_file(content: bytes | Path, folder: Path) -> Path:
    """The file MLmodel, at the top level or in the only folder."""
    if isinstance(content, bytes) or content.is_file():
        extract(content, folder)
        if isinstance(content, Path):
            content.unlink()
        content = folder
    # Archives created on a Mac contain a folder of resource forks next to the content.
    visible = sorted(path for path in content.iterdir() if not path.name.startswith((".", "__MACOSX")))
    if len(visible) == 1 and visible[0].is_dir():
        content = visible[0]
    if not (content / FILE_NAME).is_file():
        names = ", ".join(path.name for path in visible[:10]) or "nothing"
        raise ModelLoadError(f"{FILE_NAME} is neither at the top level nor in the only folder; found: {names}")
    return content / FILE_NAME
