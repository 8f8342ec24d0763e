"""modelType `keras`: a .keras file of Keras 3, run in this process by TensorFlow.

It has no options. The model is one of Keras's own layers, with a known input: a Sequential model with an Input, or one
of the functional API. The inputs have the names of its Input layers; an output has its key in a dict of outputs,
otherwise the name of the layer that computes it.

The file is data, and is loaded in Keras's safe mode. Before that, layers that contain code or read files are refused by
name (Lambda, TFSMLayer and the like), and so are classes of other packages, layers that keep a state from call to call,
and files that would unpack to more than the limit for archives. What its layers allocate is not limited, so publish no
file of strangers.

The model is traced once, for any number of rows, and called with `training=False`. Calls are not serialized.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from models.artifacts.archive import check_archive
from models.artifacts.fetching import FetchedModel
from models.artifacts.model_file import open_model_file
from models.errors import ModelLoadError, ScoringError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers.base import ModelSource, Scorer, Scores
from models.scorers.in_process import (
    InProcessScorer,
    ModelFolder,
    check_inputs,
    check_rows,
    check_signature_name,
    load_published,
    selected_outputs,
)
from models.scorers.tensorflow.session import one_line, tensor_dtype, tensorflow_module
from models.tensors import Array, Signature, TensorSpec

IN_PROCESS = True
SUFFIXES = (".keras",)
SIGNATURE = "call"

_CONFIG = "config.json"
_WITH_CODE = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__")
# Functions of these have been used to read files or fetch from servers, in versions of Keras that did not refuse them.
_WITHOUT_LAYERS = ("backend", "config", "datasets", "export", "preprocessing", "saving", "utils")


def load(source: ModelSource) -> Scorer:
    """Fetches the model, checks its digest, and opens it.

    Raises:
      ScorerOptionError: when there is an option.
      DigestMismatchError: when the fetched model differs from the published one.
      ModelLoadError: when the model is missing or broken, has a layer that is refused, or cannot score batches.
    """
    return load_published(source, (), partial(_opened, source.descriptor))


def prepare() -> None:
    """Imports Keras and TensorFlow.

    Raises:
      ModelLoadError: when that is impossible.
    """
    _keras()


@dataclass(frozen=True)
class OpenedModel:
    """A model of Keras, its traced function of a dict of tensors, and the names of the outputs to give."""

    model: Any
    function: Any
    signature: Signature


class KerasScorer(InProcessScorer):
    """A model of Keras.

    `close` frees the weights at once; the Python objects that describe the model are left to the garbage collector.
    """

    def __init__(self, descriptor: ModelDescriptor, digest: str, opened: OpenedModel) -> None:
        super().__init__(descriptor, digest, opened.signature)
        self._opened: OpenedModel | None = opened

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        """Scores rows; returns only the outputs that the descriptor selects, or all if it selects none.

        Raises:
          ScoringError: when TensorFlow fails, with its text in one line; when the inputs are not those of the model; or
            when the number of rows of an output differs from that of the inputs.
        """
        if self._opened is None:
            raise ScoringError("the model is closed")
        rows = check_inputs(inputs, self._signature.inputs)
        tensorflow = tensorflow_module()
        # TensorFlow raises exceptions of its own, but ValueError or TypeError for values that cannot be fed.
        try:
            fed = {name: tensorflow.convert_to_tensor(values) for name, values in inputs.items()}
            found = self._opened.function(fed)
            outputs = {name: np.asarray(found[name]) for name in self._signature.outputs}
        except Exception as error:
            raise ScoringError(one_line(error)) from error
        return Scores({name: check_rows(name, values, rows) for name, values in outputs.items()})

    def close(self) -> None:
        """Frees the weights."""
        if self._opened is not None:
            _free(self._opened.model)
        self._opened = None


def _free(model: Any) -> None:
    """Frees weights that reference cycles would keep until the garbage collector runs.

    Fourteen models of 38 MB, loaded and closed without it, left no megabyte.
    """
    tensorflow = tensorflow_module()
    for variable in model.variables:
        empty = tensorflow.zeros([0], variable.value.dtype)
        tensorflow.raw_ops.AssignVariableOp(resource=variable.value.handle, value=empty)


def _opened(descriptor: ModelDescriptor, fetched: FetchedModel, folder: ModelFolder) -> KerasScorer:
    check_signature_name(descriptor, SIGNATURE)
    model = _load(_model_file(fetched.content, Path(folder.name) / "model"))
    folder.cleanup()
    return KerasScorer(descriptor, fetched.digest, _traced(model, descriptor))


def _model_file(content: bytes | Path, folder: Path) -> Path:
    """The file, with the suffix without which Keras takes it for another format."""
    if isinstance(content, bytes):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "model.keras"
        path.write_bytes(content)
        return path
    if content.is_file():
        return content.rename(content.with_suffix(".keras"))
    return open_model_file(content, folder, SUFFIXES)


def _load(path: Path) -> Any:
    keras = _keras()
    check_archive(path)
    _check_config(path)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # a damaged file can lead Keras anywhere
        raise ModelLoadError(f"Keras cannot load it: {one_line(error)}") from error


def _check_config(path: Path) -> None:
    """Refuses classes by name before Keras sees the file; how the model was compiled is not read later, nor here."""
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read(_CONFIG))
        found = list(_classes({**config, "compile_config": None}, "the model"))
    except Exception as error:  # zipfile, zlib and json have exceptions of their own; nesting has no limit
        raise ModelLoadError(f"it is not a .keras file: {one_line(error)}") from error
    for layer, part in found:
        name, module = part["class_name"], part.get("module")
        if name in _WITH_CODE:
            raise ModelLoadError(
                f"layer {layer!r} is a {name}, which contains code or reads files; build it of other layers"
            )
        if not _is_of_keras(name, module):
            home = module or part.get("registered_name")
            raise ModelLoadError(
                f"layer {layer!r} needs the class {name!r} of {home!r}, but only layers of Keras are served; publish "
                "the model as a SavedModel (model.export)"
            )
        if isinstance(part.get("config"), dict) and part["config"].get("stateful") is True:
            raise ModelLoadError(f"layer {layer!r} keeps state from call to call; save it with stateful=False")


def _classes(part: Any, layer: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All parts that name a class, with the innermost layer that they are in."""
    if isinstance(part, list):
        for each in part:
            yield from _classes(each, layer)
    if not isinstance(part, dict):
        return
    if "class_name" in part:
        config = part.get("config")
        named = part.get("name") or (config.get("name") if isinstance(config, dict) else None)
        layer = named if isinstance(named, str) else layer
        yield layer, part
    for value in part.values():
        yield from _classes(value, layer)


def _is_of_keras(name: Any, module: Any) -> bool:
    if module is None:
        return isinstance(name, str) and name.startswith("__")  # tensors and other values
    package, _, rest = str(module).partition(".")
    return module == "builtins" or (package == "keras" and rest.partition(".")[0] not in _WITHOUT_LAYERS)


def _traced(model: Any, descriptor: ModelDescriptor) -> OpenedModel:
    tensorflow = tensorflow_module()
    try:
        taken = {tensor.name: tensor for tensor in model.inputs}
        specs = {
            name: tensorflow.TensorSpec(tensor.shape, tensor.dtype, name.replace("/", "_"))
            for name, tensor in taken.items()
        }
        function = tensorflow.function(partial(_called, model)).get_concrete_function(specs)
    except ModelLoadError:
        raise
    except Exception as error:
        raise ModelLoadError(f"Keras cannot call it: {one_line(error)}; it must know its inputs") from error
    inputs = {name: _spec(name, tensor) for name, tensor in sorted(specs.items())}
    given = function.structured_outputs
    outputs = {name: _spec(name, given[name]) for name in selected_outputs(sorted(given), descriptor)}
    return OpenedModel(model, function, Signature(SIGNATURE, inputs, outputs))


def _called(model: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of a model by name."""
    alone = len(inputs) == 1
    outputs = model(next(iter(inputs.values())) if alone else inputs, training=False)
    if isinstance(outputs, dict):
        return outputs
    found = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    names = getattr(model, "output_names", None) or [model.layers[-1].name]
    if len(set(names)) != len(found):
        raise ModelLoadError(
            f"the {len(found)} outputs have the names {', '.join(names)}; give the model a dict of outputs"
        )
    return dict(zip(names, found, strict=True))


def _spec(name: str, tensor: Any) -> TensorSpec:
    shape = None if tensor.shape.rank is None else tuple(tensor.shape)
    if shape is not None and (not shape or shape[0] is not None):
        raise ModelLoadError(f"{name!r} has the shape {list(shape)}, whose first dimension is fixed")
    return TensorSpec(name, tensor_dtype(name, tensor.dtype.as_datatype_enum), shape)


@cache
def _keras() -> Any:
    """Keras, imported with the first model, as TensorFlow is."""
    tensorflow_module()
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras

    if keras.config.backend() != "tensorflow":
        raise ModelLoadError(f"Keras runs on {keras.config.backend()}; set KERAS_BACKEND=tensorflow on the worker")
    return keras
