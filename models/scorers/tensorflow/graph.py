"""modelType `tensorflow-graph`: a frozen graph of TensorFlow 1 or 2, run in this process.

The model is a binary GraphDef whose variables are constants, in a .pb file. It has no options.

A graph has no signature, so the descriptor names its tensors. Inputs are those that the descriptor maps (`--input`),
and all placeholders that the outputs still need. Outputs are those that the descriptor selects (`--output`); it does
not have to if the graph has a single end, which is a node that no other node uses. A name is `NODE`, or `NODE:NUMBER`
for another output of a node than its first.

Operations that do more than compute are refused (`models.scorers.tensorflow.operations`), and so is a file whose
constants would grow beyond the limit for archives. The file must end with its versions, as TensorFlow writes it;
otherwise a truncated file would go unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from models.artifacts.archive import allowed_bytes
from models.artifacts.fetching import FetchedModel
from models.artifacts.model_file import open_model_file
from models.errors import ModelLoadError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers.base import ModelSource, Scorer
from models.scorers.in_process import ModelFolder, check_signature_name, load_published, names_text
from models.scorers.tensorflow.operations import check_operations, constant_bytes
from models.scorers.tensorflow.session import (
    OpenedModel,
    SessionScorer,
    one_line,
    prepare_session,
    tensor_dtype,
    tensor_shape,
    tensorflow_module,
)
from models.tensors import Signature, TensorSpec

IN_PROCESS = True
SUFFIXES = (".pb",)
SIGNATURE = "graph"

_NEVER_AN_END = ("Const", "NoOp", "Placeholder")
_SHOWN_NAMES = 10


def load(source: ModelSource) -> Scorer:
    """Fetches the model, checks its digest, and opens it.

    Raises:
      ScorerOptionError: when there is an option.
      DigestMismatchError: when the fetched model differs from the published one.
      ModelLoadError: when the model is missing or broken, lacks a tensor that the descriptor names, or contains an
        operation that does more than compute.
    """
    return load_published(source, (), partial(_opened, source.descriptor))


def prepare() -> None:
    """Imports TensorFlow and runs a session once.

    Raises:
      ModelLoadError: when TensorFlow cannot be imported.
    """
    prepare_session()


def _opened(descriptor: ModelDescriptor, fetched: FetchedModel, folder: ModelFolder) -> SessionScorer:
    check_signature_name(descriptor, SIGNATURE)
    graph = _parse(open_model_file(fetched.content, Path(folder.name) / "model", SUFFIXES).read_bytes())
    folder.cleanup()
    return SessionScorer(descriptor, fetched.digest, _open(graph, descriptor), folder)


def _parse(content: bytes) -> Any:
    """Parses a GraphDef, and makes all checks that do not depend on names."""
    tensorflow = tensorflow_module()
    graph = tensorflow.compat.v1.GraphDef()
    try:
        graph.ParseFromString(content)
    except Exception as error:  # protobuf has exceptions of its own
        raise ModelLoadError(f"the file is not a GraphDef: {one_line(error)}") from error
    if not graph.node or not graph.versions.producer:
        raise ModelLoadError(
            "the file is not a frozen graph, or is truncated: it must contain nodes and end with versions"
        )
    check_operations(graph)
    needed, allowed = constant_bytes(graph), allowed_bytes(len(content))
    if needed > allowed:
        raise ModelLoadError(
            f"the constants of the graph would take {needed} bytes, more than the {allowed} that are allowed for its "
            "size"
        )
    for node in graph.node:
        node.device = ""  # the device of the machine that trained it
    return graph


def _open(graph_def: Any, descriptor: ModelDescriptor) -> OpenedModel:
    tensorflow = tensorflow_module()
    graph = tensorflow.Graph()
    try:
        with graph.as_default():
            tensorflow.import_graph_def(graph_def, name="")
    except Exception as error:
        raise ModelLoadError(f"TensorFlow cannot load it: {one_line(error)}") from error
    graph.finalize()
    outputs = {name: _tensor(graph, name, "output") for name in _output_names(graph, descriptor)}
    named = {name: _tensor(graph, name, "input") for name in descriptor.inputs}
    inputs = {**named, **_placeholders(outputs.values(), named.values())}
    if not inputs:
        raise ModelLoadError(
            f"the outputs {names_text(outputs)} depend on no input; name other outputs in the descriptor"
        )
    signature = Signature(SIGNATURE, _specs(inputs), _specs(outputs))
    session = tensorflow.compat.v1.Session(graph=graph)
    return OpenedModel(session, signature, _full_names(inputs), _full_names(outputs))


def _output_names(graph: Any, descriptor: ModelDescriptor) -> list[str]:
    if descriptor.outputs:
        return sorted(set(descriptor.outputs.values()))
    ends = [node.name for node in graph.get_operations() if _is_end(node)]
    if len(ends) != 1:
        shown = ", ".join(sorted(ends)[:_SHOWN_NAMES]) or "none"
        raise ModelLoadError(
            f"the graph has {len(ends)} ends ({shown}), so name the outputs in the descriptor, as in --output NAME=NODE"
        )
    return ends


def _is_end(node: Any) -> bool:
    used = any(tensor.consumers() for tensor in node.outputs)
    return bool(node.outputs) and not used and node.type not in _NEVER_AN_END


def _tensor(graph: Any, name: str, kind: str) -> Any:
    try:
        return graph.get_tensor_by_name(name if ":" in name else f"{name}:0")
    except (KeyError, ValueError) as error:
        placeholders = [node.name for node in graph.get_operations() if node.type == "Placeholder"]
        existing = ", ".join(placeholders[:_SHOWN_NAMES]) or "none"
        raise ModelLoadError(
            f"the graph has no tensor {name!r}, which the descriptor names as an {kind}; its placeholders are: "
            f"{existing}"
        ) from error


def _placeholders(outputs: Iterable[Any], named: Iterable[Any]) -> dict[str, Any]:
    """The placeholders by name on which the outputs depend, other than through tensors that are fed anyway."""
    fed = {tensor.name for tensor in named}
    waiting = [tensor.op for tensor in outputs if tensor.name not in fed]
    seen, found = set(), {}
    while waiting:
        node = waiting.pop()
        if node.name in seen:
            continue
        seen.add(node.name)
        if node.type == "Placeholder":
            found[node.name] = node.outputs[0]
        waiting += [tensor.op for tensor in node.inputs if tensor.name not in fed]
        waiting += node.control_inputs
    return found


def _specs(tensors: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(name, tensor_dtype(name, tensor.dtype.as_datatype_enum), _shape(name, tensor))
        for name, tensor in sorted(tensors.items())
    }


def _shape(name: str, tensor: Any) -> tuple[int | None, ...] | None:
    shape = tensor_shape(tensor.shape.as_proto())
    if shape is None or (shape and shape[0] is None):
        return shape
    raise ModelLoadError(
        f"{name!r} has the shape {list(shape)}, whose first dimension is fixed; freeze the graph with a batch "
        "size of None"
    )


def _full_names(tensors: Mapping[str, Any]) -> dict[str, str]:
    return {name: tensor.name for name, tensor in tensors.items()}
