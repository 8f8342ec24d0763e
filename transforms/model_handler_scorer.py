"""modelType `beam-model-handler`: runs any of Beam's model handlers in this process.

The option `handler` names the handler: an entry point of the group `beam_serving.model_handlers` of an installed
package, which refers to a `transforms.model_handlers.InstalledHandler`. The model is the file or folder that the
handler loads. A descriptor never carries code.

Dictionary results have one output per key; all other results have the single output `prediction`. Handlers that read
pickles need the same permission as pickles. Several threads call a handler at once, as in RunInference. Functions
before and after a handler (`with_preprocess_fn`) are steps of RunInference, which is not used here, so a handler with
such functions is refused.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from models.artifacts.archive import extract
from models.artifacts.fetching import FetchedModel
from models.entry_points import load_entry_point
from models.errors import EntryPointError, ModelLoadError, ScorerOptionError, ScoringError
from models.functions import specs_of
from models.scorers.base import ModelSource, Scorer
from models.scorers.called import CalledScorer, Callee
from models.scorers.in_process import ModelFolder, as_outputs, engine_text, load_published
from models.tensors import Array, Signature
from transforms.model_handlers import InstalledHandler

IN_PROCESS = True
ENTRY_POINT_GROUP = "beam_serving.model_handlers"
HANDLER_OPTION = "handler"
SIGNATURE = "run_inference"
PREDICTION = "prediction"

_UNPICKLING = ("apache_beam.ml.inference.sklearn_inference", "apache_beam.ml.inference.pytorch_inference")
_XGBOOST = "apache_beam.ml.inference.xgboost_inference"


def load(source: ModelSource) -> Scorer:
    """Fetches the model, checks its digest, and lets the handler load it.

    Raises:
      ScorerOptionError: the option `handler` is missing, or there is an unknown option.
      EntryPointError: no package provides the handler, or its entry point is broken.
      PickleRefusedError: the handler reads pickles, and the deployment does not allow this one.
      ModelLoadError: the model is missing or broken.
    """
    return load_published(source, (HANDLER_OPTION,), partial(_opened, source))


def prepare() -> None:
    """Does nothing beyond the import of this module; a handler is imported with the first model that names it."""


def _opened(source: ModelSource, fetched: FetchedModel, folder: ModelFolder) -> CalledScorer:
    installed = _installed(source)
    path = _model_path(fetched.content, Path(folder.name) / "model", installed.folder)
    try:
        handler = installed.create(str(path))
        _check(handler, source, fetched.digest, path)
        model = handler.load_model()
    except ModelLoadError:
        raise
    except Exception as error:  # handlers raise exceptions of many kinds
        raise ModelLoadError(f"the handler cannot load it: {_text(error)}") from error
    signature = Signature(SIGNATURE, specs_of(installed.inputs))
    # The folder stays until the model is closed, because a handler may read it later.
    return CalledScorer(
        source, fetched.digest, Callee(partial(_called, installed, handler, model), signature, folder.cleanup)
    )


def _installed(source: ModelSource) -> InstalledHandler:
    name = source.descriptor.options.get(HANDLER_OPTION)
    if name is None:
        raise ScorerOptionError(f"option {HANDLER_OPTION!r} is missing: it names the handler")
    installed = load_entry_point(ENTRY_POINT_GROUP, name, "handler")
    if not isinstance(installed, InstalledHandler):
        raise EntryPointError(
            f"handler {name!r}: its entry point refers to a {type(installed).__name__}, not to a "
            "transforms.model_handlers.InstalledHandler"
        )
    return installed


def _model_path(content: bytes | Path, place: Path, folder: bool) -> Path:
    if isinstance(content, bytes):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        content = place
    if folder and content.is_file():
        if not zipfile.is_zipfile(content):
            raise ModelLoadError("the handler loads a folder, and this is neither a folder nor a zip file of one")
        unpacked = content.with_name("unpacked")
        extract(content, unpacked)
        return unpacked
    if not folder and content.is_dir():
        raise ModelLoadError("the handler loads a file, and this is a folder")
    return content


def _check(handler: object, source: ModelSource, digest: str, path: Path) -> None:
    """Checks the new handler before it loads anything; raises ModelLoadError or PickleRefusedError."""
    if not isinstance(handler, ModelHandler):
        raise ModelLoadError(f"a {type(handler).__name__} was created, which is not a ModelHandler of Beam")
    if list(handler.get_preprocess_fns()) or list(handler.get_postprocess_fns()):
        raise ModelLoadError(
            "the handler has functions before or after it, which only RunInference calls; give it an inference_fn "
            "that contains them"
        )
    modules = {base.__module__ for one in _with_wrapped(handler) for base in type(one).__mro__}
    if not modules.isdisjoint(_UNPICKLING):
        source.pickles.check(source.descriptor, digest)
    if _XGBOOST in modules:
        from models.scorers.xgboost import check_whole

        check_whole(path.read_bytes())  # an incomplete file could end the process


def _with_wrapped(handler: ModelHandler[Any, Any, Any]) -> Iterator[ModelHandler[Any, Any, Any]]:
    """Yields the handler and the handlers that it wraps, as KeyedModelHandler does."""
    yield handler
    for value in vars(handler).values():
        if isinstance(value, ModelHandler):
            yield from _with_wrapped(value)


def _called(
    installed: InstalledHandler,
    handler: ModelHandler[Any, Any, Any],
    model: Any,
    inputs: Mapping[str, Array],
    rows: int,
) -> dict[str, Array]:
    try:
        results = list(handler.run_inference(installed.batch_of(inputs, rows), model))
    except Exception as error:  # handlers raise exceptions of many kinds
        raise ScoringError(_text(error)) from error
    inferences = [one.inference if isinstance(one, PredictionResult) else one for one in results]
    wanted = 1 if installed.batch == "one-array" else rows
    if len(inferences) != wanted:
        raise ScoringError(f"the handler returned {len(inferences)} results, but {wanted} are expected")
    return as_outputs(_one_array(inferences) if installed.batch == "one-array" else _transposed(inferences), rows)


def _one_array(inferences: Sequence[Any]) -> Mapping[str, Any]:
    (inference,) = inferences
    return inference if isinstance(inference, Mapping) else {PREDICTION: inference}


def _transposed(inferences: Sequence[Any]) -> Mapping[str, Any]:
    """Transposes the results of records to outputs: one for each key of dictionaries, otherwise the only one."""
    if not isinstance(inferences[0], Mapping):
        return {PREDICTION: inferences}
    names = inferences[0].keys()
    if any(not isinstance(one, Mapping) or one.keys() != names for one in inferences):
        raise ScoringError("the handler returned results with different names for records of one batch")
    return {name: [one[name] for one in inferences] for name in names}


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {engine_text(error, str(error))}"
