"""modelType `python`: a function of an installed package, from columns to columns, run in this process.

The model is a JSON file that names the function, and may give it parameters::

    {"function": "acme-net", "parameters": {"rate": 0.2}}

The function is in a package that is installed wherever the model is published and served: an entry point of the group
`beam_serving.functions` refers to a `models.functions.ColumnFunction`. A descriptor never carries code. The parameters
become arguments of the function, so an unknown parameter is rejected. There are no options.

Each call checks what the function returns: one row for each input row, and the outputs that the function declares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from models.artifacts.fetching import FetchedModel
from models.artifacts.model_file import open_model_file
from models.entry_points import load_entry_point
from models.errors import EntryPointError, ModelLoadError, ScoringError
from models.functions import ColumnFunction, specs_of
from models.scorers.base import ModelSource, Scorer
from models.scorers.called import CalledScorer, Callee
from models.scorers.in_process import ModelFolder, as_outputs, check_shapes, engine_text, load_published, names_text
from models.tensors import Array, Signature, TensorSpec

IN_PROCESS = True
SUFFIXES = (".json",)
ENTRY_POINT_GROUP = "beam_serving.functions"
SIGNATURE = "call"


def load(source: ModelSource) -> Scorer:
    """Fetches the model, checks its digest, and finds its function.

    Raises:
      ScorerOptionError: there is an option.
      DigestMismatchError: the fetched model differs from the published one.
      EntryPointError: no package has the function, or its entry point is broken.
      ModelLoadError: the model is missing or broken, or the function does not take its parameters.
    """
    return load_published(source, (), partial(_opened, source))


def prepare() -> None:
    """Does nothing: a function is imported with the first model that names it."""


@dataclass(frozen=True)
class FunctionCall:
    """The content of a model's file."""

    function: ColumnFunction
    parameters: Mapping[str, Any]

    def outputs(self, inputs: Mapping[str, Array], rows: int) -> dict[str, Array]:
        """Calls the function; raises ScoringError when it fails or returns values that are not allowed."""
        try:
            returned = self.function({name: _read_only(array) for name, array in inputs.items()}, **self.parameters)
        except Exception as error:  # the code is another package's
            raise ScoringError(f"{type(error).__name__}: {engine_text(error, str(error))}") from error
        outputs = as_outputs(returned, rows)
        stated = specs_of(self.function.outputs)
        if stated:
            _check_stated(outputs, stated, rows)
        return outputs


def _opened(source: ModelSource, fetched: FetchedModel, folder: ModelFolder) -> CalledScorer:
    path = open_model_file(fetched.content, Path(folder.name) / "model", SUFFIXES)
    content = path.read_bytes()
    folder.cleanup()
    call = _read(content)
    signature = Signature(SIGNATURE, specs_of(call.function.inputs), specs_of(call.function.outputs))
    return CalledScorer(source, fetched.digest, Callee(call.outputs, signature))


def _read(content: bytes) -> FunctionCall:
    try:
        described = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ModelLoadError(f"the model is not JSON: {error}") from error
    if not isinstance(described, dict) or not {"function"} <= described.keys() <= {"function", "parameters"}:
        raise ModelLoadError('the model must be {"function": NAME} or {"function": NAME, "parameters": {...}}')
    name, parameters = described["function"], described.get("parameters", {})
    if not isinstance(name, str) or not isinstance(parameters, dict):
        raise ModelLoadError("the function must be a name, and the parameters an object")
    function = load_entry_point(ENTRY_POINT_GROUP, name, "function")
    if not isinstance(function, ColumnFunction):
        raise EntryPointError(
            f"function {name!r}: its entry point refers to a {type(function).__name__}, not to a function that is "
            "decorated with models.functions.column_function"
        )
    try:
        function.check_parameters(parameters)
    except TypeError as error:
        raise ModelLoadError(f"function {name!r} does not take these parameters: {error}") from error
    return FunctionCall(function, parameters)


def _read_only(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view


def _check_stated(outputs: Mapping[str, Array], stated: Mapping[str, TensorSpec], rows: int) -> None:
    if outputs.keys() != stated.keys():
        raise ScoringError(f"the function returned {names_text(outputs)}, but it states {names_text(stated)}")
    for name, spec in stated.items():
        if outputs[name].dtype != spec.dtype:
            raise ScoringError(f"output {name!r} is {outputs[name].dtype}, but the function states {spec.dtype}")
    check_shapes(outputs, stated, rows, "output")
