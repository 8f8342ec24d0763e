"""modelType `onnx`: a model in ONNX, run in this process by onnxruntime (the extra `onnx` installs it).

The model is an .onnx file, inline or at a location; a model whose weights are in files beside it is a folder or a zip
file. It has no options. An ONNX model has one graph and therefore one signature, which the descriptor need not name.

The first dimension of every input must be the number of rows, and accept any size. All outputs must be tensors: a
classifier exported from scikit-learn needs `zipmap=False`, unless the descriptor selects the other outputs. Texts are
UTF-8.

Every call runs on the thread that makes it: onnxruntime's own threads would compete with those of the other workers on
the machine, and take up to four times as long when they spin on busy cores. Calls are not serialized.

Only onnxruntime's own operators are available, so a model cannot load code. onnxruntime rejects weights in files
outside of the model's folder (version 1.32 does, which is installed with Python 3.11 and newer).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

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
    engine_text,
    load_published,
    selected_outputs,
)
from models.tensors import Array, Signature, TensorSpec

IN_PROCESS = True
SUFFIXES = (".onnx",)
DEFAULT_SIGNATURE = "graph"

_TEXT = np.dtype(object)
_DTYPES: Mapping[str, np.dtype[np.generic]] = {
    "bool": np.dtype(np.bool_),
    "double": np.dtype(np.float64),
    "float": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "int16": np.dtype(np.int16),
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
    "int8": np.dtype(np.int8),
    "string": _TEXT,
    "uint16": np.dtype(np.uint16),
    "uint32": np.dtype(np.uint32),
    "uint64": np.dtype(np.uint64),
    "uint8": np.dtype(np.uint8),
}
_TENSOR = re.compile(r"tensor\((\w+)\)")
_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_ONLY_ERRORS = 3  # onnxruntime's log level for errors; its warnings require no action


def load(source: ModelSource) -> Scorer:
    """Fetches the model, checks its digest, and opens it.

    Raises:
      ScorerOptionError: there is an option.
      DigestMismatchError: the fetched model differs from the published one.
      ModelLoadError: the model is missing or broken, lacks the signature or an output, or cannot score batches.
    """
    return load_published(source, (), partial(_opened, source.descriptor))


def prepare() -> None:
    """Does nothing: importing this module has already imported onnxruntime."""


def _opened(descriptor: ModelDescriptor, fetched: FetchedModel, folder: ModelFolder) -> OnnxScorer:
    path = open_model_file(fetched.content, Path(folder.name) / "model", SUFFIXES)
    opened = _open(path, descriptor)
    # Weights in a separate file may stay mapped into memory after the file is deleted.
    folder.cleanup()
    return OnnxScorer(descriptor, fetched.digest, opened)


@dataclass(frozen=True)
class OpenedModel:
    """A session, and the inputs and outputs of its graph; `fetches` are the names of the outputs to compute."""

    session: Any
    signature: Signature
    fetches: tuple[str, ...]


class OnnxScorer(InProcessScorer):
    """A model in a session of onnxruntime; its memory is freed by `close`."""

    def __init__(self, descriptor: ModelDescriptor, digest: str, opened: OpenedModel) -> None:
        super().__init__(descriptor, digest, opened.signature)
        self._session = opened.session
        self._fetches = opened.fetches

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        """Scores rows; computes only the outputs that the descriptor selects, or all if it selects none.

        Raises:
          ScoringError: onnxruntime fails (the message has its text on one line), the inputs are not those of the graph,
            a text is not UTF-8, or the number of rows of an output differs from that of the inputs.
        """
        rows = check_inputs(inputs, self._signature.inputs)
        feeds = {name: _texts(name, values) if values.dtype == _TEXT else values for name, values in inputs.items()}
        # onnxruntime raises its own exceptions, which have no common base class.
        try:
            outputs = self._session.run(self._fetches, feeds)
        except Exception as error:
            raise ScoringError(one_line(error)) from error
        named = zip(self._fetches, outputs, strict=True)
        return Scores({name: check_rows(name, _as_bytes(values), rows) for name, values in named})

    def close(self) -> None:
        """Frees the memory of the model."""
        self._session = None


def one_line(error: BaseException) -> str:
    """The text of an exception of onnxruntime on one line of at most 500 characters, without its code."""
    return engine_text(error, _PREFIX.sub("", str(error)))


def tensor_spec(name: str, kind: str, shape: list[int | str | None]) -> TensorSpec:
    """The spec of an input or output that onnxruntime describes; a named dimension may have any size.

    onnxruntime reports no dimensions both for a scalar and for a tensor of unknown rank. A scalar has no rows and could
    not be served, so the latter is assumed.

    Raises:
      ModelLoadError: it is not a tensor of numbers, booleans or texts.

    >>> tensor_spec("x", "tensor(float)", ["rows", 11])
    TensorSpec(name='x', dtype=dtype('float32'), shape=(None, 11))
    """
    match = _TENSOR.fullmatch(kind)
    if match is None or match.group(1) not in _DTYPES:
        remedy = "export the model with zipmap=False" if "map(" in kind else "leave it out of the model"
        raise ModelLoadError(f"{name!r} is a {kind}, not a tensor of numbers, booleans or texts; {remedy}")
    sizes = tuple(size if isinstance(size, int) else None for size in shape)
    return TensorSpec(name, _DTYPES[match.group(1)], sizes or None)


def _open(path: Path, descriptor: ModelDescriptor) -> OpenedModel:
    # onnxruntime raises its own exceptions, and UnicodeDecodeError for a name that is not UTF-8.
    try:
        # By its path, because onnxruntime looks beside it for separate files with weights.
        # Without a fallback, which would print a message and then try the same again.
        session = onnxruntime.InferenceSession(
            str(path), _settings(), providers=["CPUExecutionProvider"], enable_fallback=False
        )
        name = str(session.get_modelmeta().graph_name) or DEFAULT_SIGNATURE
        given = {one.name: (one.type, one.shape) for one in session.get_inputs()}
        described = {one.name: (one.type, one.shape) for one in session.get_outputs()}
    except Exception as error:
        text = one_line(error).replace(f"{path.parent}/", "")
        raise ModelLoadError(f"onnxruntime cannot load it: {text}") from error
    if descriptor.signature not in (None, name):
        raise ModelLoadError(f"the model has no signature {descriptor.signature!r}; its only graph is {name!r}")
    inputs = _input_specs(given)
    fetches = tuple(selected_outputs(described, descriptor))
    outputs = {output: tensor_spec(output, *described[output]) for output in fetches}
    return OpenedModel(session, Signature(name, inputs, outputs), fetches)


def _input_specs(given: Mapping[str, tuple[str, list[int | str | None]]]) -> dict[str, TensorSpec]:
    if not given:
        raise ModelLoadError("the model has no inputs, so no record could make a difference to it")
    specs = {name: tensor_spec(name, *described) for name, described in given.items()}
    for spec in specs.values():
        if spec.shape is not None and spec.shape[0] is not None:
            raise ModelLoadError(
                f"input {spec.name!r} takes {spec.shape[0]} rows and no other number; export the model with a first "
                "dimension of any size (a dynamic axis)"
            )
    return specs


def _settings() -> Any:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.inter_op_num_threads = 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.inter_op.allow_spinning", "0")
    settings.log_severity_level = _ONLY_ERRORS
    return settings


def _texts(name: str, values: Array) -> Array:
    """The same texts as str, because onnxruntime would convert the bytes b'x' to the text "b'x'"."""
    texts = np.empty(values.size, object)
    try:
        texts[:] = [value.decode() for value in values.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise ScoringError(f"input {name!r} holds a text that is not UTF-8: {error}") from error
    return texts.reshape(values.shape)


def _as_bytes(values: Any) -> Array:
    """An output, with texts as bytes."""
    array: Array = np.asarray(values)
    if array.dtype != _TEXT:
        return array
    texts = np.empty(array.size, object)
    texts[:] = [text.encode("utf-8", "surrogateescape") for text in array.ravel().tolist()]
    return texts.reshape(array.shape)
