"""The shared part of the scorers that run a TensorFlow graph in a session.

`models.scorers.tensorflow.saved_model` explains why they use a session.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from models.errors import ModelLoadError, ScoringError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers.base import Scores
from models.scorers.in_process import (
    InProcessScorer,
    ModelFolder,
    check_inputs,
    check_rows,
    check_shapes,
    engine_text,
    names_text,
)
from models.scorers.tensorflow.signatures import DEFAULT_SIGNATURE
from models.tensors import Array, Signature

# From inputs by name to outputs by name.
Run = Callable[[Mapping[str, Array]], Mapping[str, Any]]


@dataclass(frozen=True)
class OpenedModel:
    """A session that contains a model, and the tensors to feed and to fetch by the names of the signature."""

    session: Any
    signature: Signature
    feeds: Mapping[str, str]
    fetches: Mapping[str, str]


class SessionScorer(InProcessScorer):
    """A graph in a session of its own.

    `close` frees the weights at once; a few hundred kilobytes of Python objects that describe the graph are left to
    the garbage collector.

    Args:
      descriptor: the descriptor of the model.
      digest: the digest of what was published.
      opened: the session, which `close` closes.
      folder: the model's files, which `close` deletes.
    """

    def __init__(self, descriptor: ModelDescriptor, digest: str, opened: OpenedModel, folder: ModelFolder) -> None:
        super().__init__(descriptor, digest, opened.signature)
        self._session = opened.session
        self._run: Run | None = _runner(opened)
        self._folder = folder

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        """Scores rows; computes only the outputs that the descriptor selects, or all if it selects none.

        Raises:
          ScoringError: when TensorFlow fails, with its text in one line; when the inputs are not those of the
            signature; or when the number of rows of an output differs from that of the inputs.
        """
        run, specs = self._run, self._signature.inputs
        if run is None:
            raise ScoringError("the model is closed")
        rows = check_inputs(inputs, specs)
        check_shapes(inputs, specs, rows)
        # TensorFlow raises its own exceptions, but ValueError or TypeError for values that cannot be fed.
        try:
            outputs = run({name: np.asarray(values, specs[name].dtype) for name, values in inputs.items()})
        except Exception as error:
            raise ScoringError(one_line(error)) from error
        return Scores({name: check_rows(name, np.asarray(values), rows) for name, values in outputs.items()})

    def close(self) -> None:
        """Frees the weights and deletes the model's files."""
        self._run = None
        self._session.close()
        # The memory is freed with the last reference to the session.
        self._session = None
        self._folder.cleanup()


def _runner(opened: OpenedModel) -> Run:
    """How the session is called."""
    feeds, fetches, session = dict(opened.feeds), dict(opened.fetches), opened.session
    tensors = set(feeds.values())
    # Only `run` supports an input that is also an output, and two names for one input.
    if len(tensors) < len(feeds) or not tensors.isdisjoint(fetches.values()):
        return lambda inputs: session.run(fetches, {feeds[name]: values for name, values in inputs.items()})
    from tensorflow.core.protobuf import config_pb2

    fetched = list(dict.fromkeys(fetches.values()))
    options = config_pb2.CallableOptions(feed=list(feeds.values()), fetch=fetched)
    # `run` prepares each call anew in Python, and copies the inputs: a small network took 50 instead of 130
    # microseconds for one row, and 580 instead of 890 for 2,000. What is public, `make_callable`, uses `run` if it has
    # inputs. Keras called models in this way, too.
    call = session._make_callable_from_options(options)
    places = {name: fetched.index(tensor) for name, tensor in fetches.items()}

    def run(inputs: Mapping[str, Array]) -> dict[str, Any]:
        values = call(*(inputs[name] for name in feeds))
        return {name: values[place] for name, place in places.items()}

    return run


def one_line(error: BaseException) -> str:
    """The text of a TensorFlow exception in one line of at most 500 characters, without stack traces."""
    text = getattr(error, "message", None) or str(error)
    for tail in (
        "\n\nOriginal stack trace",
        "\nOriginal stack trace",
        "\n\nErrors may have originated",
        "\nDefined at",
    ):
        text = text.partition(tail)[0]
    return engine_text(error, text.removeprefix("Graph execution error:"))


def choose_signature(present: list[str], asked: str | None) -> str:
    """The signature to call: the requested one, otherwise serving_default or the only one.

    Raises:
      ModelLoadError: when there is no such signature, or more than one candidate.
    """
    if asked is not None and asked in present:
        return asked
    if asked is None and DEFAULT_SIGNATURE in present:
        return DEFAULT_SIGNATURE
    if asked is None and len(present) == 1:
        return present[0]
    wish = f"no signature {asked!r}" if asked is not None else f"neither a single signature nor {DEFAULT_SIGNATURE!r}"
    raise ModelLoadError(f"the model has {wish}; it has: {names_text(present)}; name one of them in the descriptor")


def tensor_dtype(key: str, number: int) -> np.dtype[np.generic]:
    """The numpy dtype of an entry of TensorFlow's enumeration; strings are `object`.

    Raises:
      ModelLoadError: when its tensors are not arrays; the message names `key`.
    """
    dtype = tensorflow_module().dtypes.as_dtype(number)
    if dtype.name in ("resource", "variant"):
        raise ModelLoadError(f"{key!r} is a {dtype.name}, which is not an array")
    numpy_dtype: np.dtype[np.generic] = np.dtype(dtype.as_numpy_dtype)
    return numpy_dtype


def tensor_shape(shape: Any) -> tuple[int | None, ...] | None:
    """The dimensions of a TensorShapeProto; None for an unknown rank."""
    if shape.unknown_rank:
        return None
    return tuple(None if dimension.size < 0 else dimension.size for dimension in shape.dim)


def prepare_session() -> None:
    """Imports TensorFlow and runs a session once, which starts its threads.

    Raises:
      ModelLoadError: when TensorFlow cannot be imported.
    """
    tensorflow = tensorflow_module()
    graph = tensorflow.Graph()
    with graph.as_default(), tensorflow.compat.v1.Session(graph=graph) as session:
        session.run(tensorflow.constant(0))


@cache
def tensorflow_module() -> Any:
    """TensorFlow, imported when the first model is loaded: it takes 2 to 3 seconds and 400 MB.

    Raises:
      ModelLoadError: when it cannot be imported.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tensorflow
    except ImportError as error:
        raise ModelLoadError(f"the package tensorflow cannot be imported: {error}; install it on the worker") from error
    # TensorFlow logs that the loader of SavedModels is deprecated. The module that uses it explains why, and operators
    # cannot act on the warning.
    tensorflow.get_logger().addFilter(_is_no_deprecation)
    return tensorflow


def _is_no_deprecation(record: logging.LogRecord) -> bool:
    return "deprecated" not in record.getMessage()
