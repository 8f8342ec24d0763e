"""modelType `tensorflow-lite`: a .tflite file, run in this process by the interpreter that TensorFlow brings along.

Options:

- `quantized`: `real` (the default) or `raw`. The inputs and outputs of a fully quantized model are small integers that
  stand for real numbers: real = scale * (integer - zero point), with a scale and a zero point for each tensor. With
  `real`, records and results contain the real numbers as float32; a number beyond the range of the integers becomes
  the nearest one. With `raw`, they contain the integers.

The model needs a signature, as the converter writes it, and inputs whose first dimension is None. Operations
that are not built in (`Select TF ops` and custom ones) and those that keep state or draw random numbers are refused.

An interpreter can run only one call at a time, so each call in progress has its own; interpreters are kept for later
calls. All of them read the same weights. Each call runs on the calling thread.

TensorFlow announces that its interpreter will move to the package ai_edge_litert. As long as TensorFlow contains it, no
other package is needed.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from models.artifacts.archive import allowed_bytes
from models.artifacts.fetching import FetchedModel
from models.artifacts.model_file import open_model_file
from models.errors import ModelLoadError, ScorerOptionError, ScoringError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers.base import ModelSource, Scorer, Scores
from models.scorers.in_process import (
    InProcessScorer,
    ModelFolder,
    check_inputs,
    check_rows,
    load_published,
    selected_outputs,
)
from models.scorers.tensorflow.quantization import Quantization
from models.scorers.tensorflow.session import choose_signature, one_line, tensorflow_module
from models.tensors import Array, Signature, TensorSpec

IN_PROCESS = True
SUFFIXES = (".tflite",)
KNOWN_OPTIONS = ("quantized",)

_REFUSED = (
    "ASSIGN_VARIABLE",
    "CALL_ONCE",
    "CUSTOM",
    "HASHTABLE",
    "MULTINOMIAL",
    "RANDOM_",
    "READ_VARIABLE",
    "VAR_HANDLE",
)
_NUMBER_BYTES = 4


def load(source: ModelSource) -> Scorer:
    """Fetches the model, checks its digest, and opens it.

    Raises:
      ScorerOptionError: when an option is unknown, or neither `real` nor `raw`.
      DigestMismatchError: when the fetched model differs from the published one.
      ModelLoadError: when the model is missing or broken, lacks the signature or an output, contains an operation that
        is refused, or cannot score batches.
    """
    return load_published(source, KNOWN_OPTIONS, partial(_opened, source.descriptor))


def prepare() -> None:
    """Imports TensorFlow and its interpreter.

    Raises:
      ModelLoadError: when TensorFlow cannot be imported.
    """
    tensorflow_module().lite.Interpreter  # noqa: B018  # TensorFlow imports it at first use


@dataclass(frozen=True)
class OpenedModel:
    """How interpreters are created for a signature, its inputs and outputs, and which of them are quantized."""

    new_runner: Callable[[], Any]
    signature: Signature
    quantized: Mapping[str, Quantization]
    outputs: Mapping[str, Quantization | None]


class TensorFlowLiteScorer(InProcessScorer):
    """A model with one interpreter per call in progress; `close` frees the memory of all of them."""

    def __init__(self, descriptor: ModelDescriptor, digest: str, opened: OpenedModel) -> None:
        super().__init__(descriptor, digest, opened.signature)
        self._opened: OpenedModel | None = opened
        self._free: list[Any] = []

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        """Scores rows; returns only the outputs that the descriptor selects, or all if it selects none.

        Raises:
          ScoringError: when the interpreter fails, with its text in one line; when the inputs are not those of the
            signature; or when the number of rows of an output differs from that of the inputs.
        """
        opened = self._opened
        if opened is None:
            raise ScoringError("the model is closed")
        specs = opened.signature.inputs
        rows = check_inputs(inputs, specs)
        for name, values in inputs.items():
            _check_shape(specs[name], values)
        # The interpreter refuses calls without rows.
        fed = inputs if rows else {name: np.zeros((1, *array.shape[1:]), array.dtype) for name, array in inputs.items()}
        found = self._run(opened, {name: _quantize(opened.quantized.get(name), one) for name, one in fed.items()})
        outputs = {
            name: check_rows(name, found[name] if scale is None else scale.real(found[name]), max(rows, 1))
            for name, scale in opened.outputs.items()
        }
        return Scores({name: values[:rows] for name, values in outputs.items()})

    def close(self) -> None:
        """Frees the memory of the model."""
        self._opened = None
        self._free.clear()

    def _run(self, opened: OpenedModel, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Makes one call. An interpreter that failed is not used again, as the sizes of its tensors are uncertain."""
        try:
            runner = self._free.pop()  # taking from a list is atomic
        except IndexError:
            runner = opened.new_runner()
        try:
            found: Mapping[str, Array] = runner(**inputs)
        except Exception as error:
            raise ScoringError(one_line(error)) from error
        self._free.append(runner)
        return found


def _opened(descriptor: ModelDescriptor, fetched: FetchedModel, folder: ModelFolder) -> TensorFlowLiteScorer:
    content = open_model_file(fetched.content, Path(folder.name) / "model", SUFFIXES).read_bytes()
    folder.cleanup()
    return TensorFlowLiteScorer(descriptor, fetched.digest, _open(content, descriptor))


def _open(content: bytes, descriptor: ModelDescriptor) -> OpenedModel:
    real = _wants_real(descriptor.options.get("quantized", "real"))
    try:
        interpreter = _interpreter(content)  # which verifies that no offset leads out of the file
        _check_model(content)
        name = choose_signature(sorted(interpreter.get_signature_list()), descriptor.signature)
        runner = interpreter.get_signature_runner(name)
        inputs, outputs = runner.get_input_details(), runner.get_output_details()
    except ModelLoadError:
        raise
    except Exception as error:
        raise ModelLoadError(f"TensorFlow Lite cannot load it: {one_line(error)}") from error
    scales = {key: Quantization.of(detail) if real else None for key, detail in (*inputs.items(), *outputs.items())}
    specs = {key: _spec(key, detail, scales[key]) for key, detail in sorted(inputs.items())}
    for key, detail in inputs.items():
        _check_dynamic(key, detail)
    wanted = selected_outputs(sorted(outputs), descriptor)
    signature = Signature(name, specs, {key: _spec(key, outputs[key], scales[key]) for key in wanted})
    quantized = {key: scale for key in inputs if (scale := scales[key]) is not None}
    return OpenedModel(partial(_runner, content, name), signature, quantized, {key: scales[key] for key in wanted})


def _wants_real(option: str) -> bool:
    if option not in ("real", "raw"):
        raise ScorerOptionError(f"option quantized={option!r} is neither 'real' nor 'raw'")
    return option == "real"


def _interpreter(content: bytes) -> Any:
    with _WARNINGS, warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated")
        return tensorflow_module().lite.Interpreter(model_content=content, num_threads=1)


_WARNINGS = threading.Lock()  # warning filters are global to the process


def _runner(content: bytes, signature: str) -> Any:
    return _interpreter(content).get_signature_runner(signature)


def _check_model(content: bytes) -> None:
    """Refuses unsupported operations and oversized tensors before any tensor is allocated."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAs(content)
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    for code in map(model.OperatorCodes, range(model.OperatorCodesLength())):
        name = names.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "unknown")
        if name == "unknown" or name.startswith(_REFUSED):
            custom = f" {code.CustomCode().decode('utf-8', 'replace')}" if code.CustomCode() else ""
            raise ModelLoadError(
                f"the model contains the operation {name}{custom}, which is not served; only built-in operations that "
                "keep no state and draw no random numbers are"
            )
    for tensor in _tensors(model):
        if tensor.IsVariable():
            name = (tensor.Name() or b"").decode("utf-8", "replace")
            raise ModelLoadError(
                f"tensor {name!r} keeps state from call to call, so answers would depend on earlier calls"
            )
    needed, allowed = sum(map(_bytes_of, _tensors(model))), allowed_bytes(len(content))
    if needed > allowed:
        raise ModelLoadError(
            f"the tensors of the model would take {needed} bytes, more than the {allowed} that are allowed for its size"
        )


def _tensors(model: Any) -> Iterator[Any]:
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        yield from map(graph.Tensors, range(graph.TensorsLength()))


def _bytes_of(tensor: Any) -> int:
    sizes: list[int] = [max(tensor.Shape(place), 0) for place in range(tensor.ShapeLength())]
    return _NUMBER_BYTES * math.prod(sizes)


def _spec(name: str, detail: Mapping[str, Any], scale: Quantization | None) -> TensorSpec:
    dtype = np.dtype(detail["dtype"])
    if dtype.kind not in "biuf":
        raise ModelLoadError(f"{name!r} is a tensor of {dtype}; only numbers and booleans are served")
    sizes = [None if size < 0 else int(size) for size in detail["shape_signature"]]
    # The converter loses the batch dimension of some outputs.
    shape = (None, *sizes[1:]) if sizes else None
    return TensorSpec(name, dtype if scale is None else np.dtype(np.float32), shape)


def _check_dynamic(name: str, detail: Mapping[str, Any]) -> None:
    sizes = list(detail["shape_signature"])
    if not sizes or sizes[0] >= 0:
        raise ModelLoadError(
            f"input {name!r} has the shape {[int(size) for size in sizes]}, whose first dimension is fixed; "
            "convert the model with a batch size of None"
        )


def _check_shape(spec: TensorSpec, values: Array) -> None:
    wanted = spec.shape or ()
    pairs = zip(wanted, values.shape, strict=False)
    if len(wanted) != values.ndim or any(size not in (None, found) for size, found in pairs):
        raise ScoringError(f"input {spec.name!r} has shape {list(values.shape)}, but {list(wanted)} is expected")


def _quantize(scale: Quantization | None, values: Array) -> Array:
    return np.ascontiguousarray(values) if scale is None else scale.integers(values)
