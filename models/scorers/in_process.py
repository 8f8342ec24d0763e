"""The common parts of the scorers in this process: fetching models, and checks of options, inputs and outputs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from models.artifacts.fetching import FetchedModel, fetch_model
from models.errors import ModelLoadError, ScorerOptionError, ScoringError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers.base import ModelSource
from models.tensors import Array, Signature, TensorSpec
from models.text import clean_text

_MESSAGE_LIMIT = 500
# Kinds of numpy dtypes.
_NUMBERS = "biuf"
_TEXTS = "OSU"

ModelFolder = tempfile.TemporaryDirectory[str]
OpenedScorer = TypeVar("OpenedScorer")


def load_published(
    source: ModelSource, known_options: Collection[str], open_model: Callable[[FetchedModel, ModelFolder], OpenedScorer]
) -> OpenedScorer:
    """Checks the options, fetches the model, checks its digest, and opens it.

    Args:
      source: the model.
      known_options: the names of the scorer's own options.
      open_model: opens the fetched model. It also receives a temporary folder, which it may fill. The folder is deleted
        when `open_model` fails; otherwise the returned scorer must delete it.

    Raises:
      ScorerOptionError: an option is unknown.
      DigestMismatchError: the fetched model differs from the published one.
      ModelLoadError: the model is missing, or `open_model` rejects it. Each message names the model.
    """
    descriptor = source.descriptor
    folder = tempfile.TemporaryDirectory(prefix="model-")
    try:
        _check_options(descriptor, known_options)
        fetched = fetch_model(descriptor, source.content, source.opener, Path(folder.name) / "download")
        return open_model(fetched, folder)
    except ModelLoadError as error:
        folder.cleanup()
        raise type(error)(f"{title_of(descriptor)}: {error}") from error
    except BaseException:
        folder.cleanup()
        raise


def title_of(descriptor: ModelDescriptor) -> str:
    """The prefix of errors about a model.

    >>> title_of(ModelDescriptor("wine", "onnx", 3))
    "model 'wine' version 3"
    """
    return f"model {descriptor.model_name!r} version {descriptor.model_version}"


class InProcessScorer:
    """The properties of every model in this process.

    Args:
      descriptor: the descriptor of the model.
      digest: the digest of the published model.
      signature: see `models.scorers.base.Scorer`.
    """

    def __init__(self, descriptor: ModelDescriptor, digest: str, signature: Signature) -> None:
        name = f"{descriptor.model_name}/{descriptor.model_version}"
        self._address = descriptor.model_source_location or f"inline:{name}"
        self._digest = digest
        self._signature = signature

    @property
    def signature(self) -> Signature:
        """The inputs, and the outputs that the descriptor selects."""
        return self._signature

    @property
    def digest(self) -> str:
        """SHA-256 of the published model, as 64 hexadecimal digits."""
        return self._digest

    @property
    def address(self) -> str:
        """The location of the model, or inline:NAME/VERSION."""
        return self._address

    @property
    def batch_deadline(self) -> None:
        """None, because the calls of a model in this process are short."""
        return None


def check_inputs(inputs: Mapping[str, Array], wanted: Collection[str]) -> int:
    """Checks the inputs of a call, and returns their number of rows.

    Raises:
      ScoringError: the inputs are not those of the signature, or differ in their numbers of rows.
    """
    if inputs.keys() != set(wanted):
        raise ScoringError(f"the inputs are {names_text(inputs)}, but the signature takes {names_text(wanted)}")
    rows = {np.shape(values)[:1] for values in inputs.values()}
    if len(rows) != 1 or rows == {()}:
        shapes = ", ".join(f"{name} {list(np.shape(values))}" for name, values in sorted(inputs.items()))
        raise ScoringError(f"the inputs must have the same number of rows; their shapes are {shapes}")
    return int(rows.pop()[0])


def check_shapes(arrays: Mapping[str, Array], specs: Mapping[str, TensorSpec], rows: int, what: str = "input") -> None:
    """Raises ScoringError unless each array has the shape of its spec, with that number of rows."""
    for name, spec in specs.items():
        if spec.shape is None:
            continue
        wanted, found = (rows, *spec.shape[1:]), arrays[name].shape
        if len(wanted) != len(found) or any(size not in (None, one) for size, one in zip(wanted, found, strict=True)):
            sizes = ", ".join("any" if size is None else str(size) for size in wanted)
            raise ScoringError(f"{what} {name!r} has shape {list(found)}, but [{sizes}] is expected")


def check_signature_name(descriptor: ModelDescriptor, only: str) -> None:
    """Raises ModelLoadError when the descriptor names a signature other than the only one."""
    if descriptor.signature not in (None, only):
        raise ModelLoadError(f"the model has no signature {descriptor.signature!r}; its only one is {only!r}")


def as_outputs(returned: Mapping[str, Any], rows: int) -> dict[str, Array]:
    """Converts the result of a Python library or function to arrays that results can hold: text becomes bytes.

    Raises:
      ScoringError: it is not a mapping of names to values with one row for each input row, or contains something
        other than numbers, booleans and texts.
    """
    if not isinstance(returned, Mapping):
        raise ScoringError(f"a {type(returned).__name__} was returned, but a mapping of names to arrays is expected")
    if not returned or not all(isinstance(name, str) for name in returned):
        raise ScoringError("the names of the outputs must be texts, and there must be at least one output")
    return {name: _as_output(name, values, rows) for name, values in returned.items()}


def _as_output(name: str, values: Any, rows: int) -> Array:
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise ScoringError(f"output {name!r}: {engine_text(error, str(error))}") from error
    if array.dtype == object:
        array = _natural(array)
    if array.dtype.kind not in _NUMBERS + _TEXTS:
        raise ScoringError(f"output {name!r} holds {array.dtype}, but numbers, booleans or texts are expected")
    return check_rows(name, _with_bytes(name, array) if array.dtype.kind in _TEXTS else array, rows)


def _natural(values: Array) -> Array:
    """Converts an array of objects that are numbers, as labels may be, to numbers; leaves other arrays unchanged."""
    try:
        natural = np.asarray(values.tolist())
    except ValueError:
        return values
    return natural if natural.dtype.kind in _NUMBERS and natural.shape == values.shape else values


def _with_bytes(name: str, values: Array) -> Array:
    """Texts as an array of bytes, which is how the signatures of all models represent them."""
    texts = np.empty(values.size, object)
    for place, one in enumerate(values.ravel().tolist()):
        texts[place] = one.encode("utf-8", "surrogateescape") if isinstance(one, str) else one
        if not isinstance(texts[place], bytes):
            raise ScoringError(f"output {name!r} holds a {type(one).__name__}, but numbers or texts are expected")
    return texts.reshape(values.shape)


def check_rows(name: str, values: Array, rows: int) -> Array:
    """The values of an output; raises ScoringError unless they have one row for each input row."""
    if values.shape[:1] != (rows,):
        raise ScoringError(f"output {name!r} has shape {list(values.shape)}, but {rows} rows went in")
    return values


def selected_outputs(existing: Iterable[str], descriptor: ModelDescriptor) -> list[str]:
    """The model's names for the outputs that the descriptor selects; all outputs if it selects none.

    Raises:
      ModelLoadError: the model does not have a selected output.
    """
    names = list(existing)
    wanted = set(descriptor.outputs.values()) or set(names)
    missing = wanted - set(names)
    if missing:
        raise ModelLoadError(f"the signature has no output {min(missing)!r}; it has: {names_text(names)}")
    return [name for name in names if name in wanted]


def engine_text(error: BaseException, text: str) -> str:
    """The text of an engine's exception on one line of at most 500 characters; its class if it has no text.

    Args:
      error: the exception.
      text: the text of the exception, without parts that do not help the reader, such as stack traces.
    """
    return clean_text(text, _MESSAGE_LIMIT) or type(error).__name__


def names_text(names: Iterable[str]) -> str:
    """Sorted names, for an error message.

    >>> names_text(["users", "products"]), names_text([])
    ('products, users', 'none')
    """
    return ", ".join(sorted(names)) or "none"


def _check_options(descriptor: ModelDescriptor, known: Collection[str]) -> None:
    unknown = sorted(set(descriptor.options) - set(known))
    if unknown:
        raise ScorerOptionError(f"option {unknown[0]!r} is unknown; known options: {names_text(known)}")
