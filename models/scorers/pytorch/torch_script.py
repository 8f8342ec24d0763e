"""Opens TorchScript, whose parameters have names, but neither numeric types nor shapes: options define those."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.errors import ModelLoadError, ScorerOptionError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers.in_process import names_text, selected_outputs
from models.scorers.pytorch.archive_records import ArchiveRecords
from models.scorers.pytorch.input_option import EXAMPLE, OPTION_PREFIX, input_spec
from models.scorers.pytorch.operators import refusal
from models.scorers.pytorch.program import DTYPES, SIGNATURE, Program, named_results, one_line
from models.scorers.pytorch.script_source import check_source
from models.tensors import Signature, TensorSpec

_PROBED_ROWS = 2


def open_torch_script(
    path: Path, records: ArchiveRecords, descriptor: ModelDescriptor, allow_code: Callable[[str], None]
) -> Program:
    """Loads TorchScript, and scores two rows of zeros to learn its outputs.

    Args:
      path: the file.
      records: the records of the file.
      descriptor: the descriptor, whose options describe the inputs.
      allow_code: raises unless the deployment allows loading to run code; its argument describes the code.

    Raises:
      PickleRefusedError: from `allow_code`.
      ScorerOptionError: the options do not describe exactly the inputs of the program.
      ModelLoadError: the program is broken, does more than compute, or cannot score rows.
    """
    for name in sorted(records.names):
        if name.startswith("code/") and name.endswith(".py"):
            check_source(name, records.read(name), allow_code)
    try:
        module = torch.jit.load(str(path), map_location="cpu").eval()
        inputs = _inputs(module.forward.schema, descriptor)
        graph = module.inlined_graph
    except ModelLoadError:
        raise
    except Exception as error:
        raise ModelLoadError(f"PyTorch cannot load it as TorchScript: {one_line(error)}") from error
    for node in _nodes(graph):
        _check_node(node)
    return Program(module, Signature(SIGNATURE, inputs, _outputs(module, inputs, descriptor)))


def _inputs(schema: Any, descriptor: ModelDescriptor) -> dict[str, TensorSpec]:
    described = {
        name.removeprefix(OPTION_PREFIX): text
        for name, text in descriptor.options.items()
        if name.startswith(OPTION_PREFIX)
    }
    parameters = {one.name: one for one in schema.arguments[1:]}
    unknown = described.keys() - parameters.keys()
    if unknown:
        raise ScorerOptionError(
            f"option {OPTION_PREFIX}{min(unknown)}: the model has no such input; it has: {names_text(parameters)}"
        )
    for name, parameter in parameters.items():
        if name in described or parameter.has_default_value():
            continue
        if str(parameter.type) not in ("Tensor", "Optional[Tensor]"):
            raise ModelLoadError(f"input {name!r} is a {parameter.type}, not a tensor; give it a default value")
        raise ScorerOptionError(
            f"TorchScript does not state the type and shape of input {name!r}; give them, as in --option "
            f"{OPTION_PREFIX}{name}={EXAMPLE} (the sizes are those after the rows)"
        )
    if not described:
        raise ModelLoadError("the model has no inputs, so no record could make a difference to it")
    return {name: input_spec(name, text) for name, text in described.items()}


def _outputs(module: Any, inputs: dict[str, TensorSpec], descriptor: ModelDescriptor) -> dict[str, TensorSpec]:
    zeros = {
        name: torch.tensor(np.zeros((_PROBED_ROWS, *(size or 1 for size in (spec.shape or ())[1:])), spec.dtype))
        for name, spec in inputs.items()
    }
    try:
        with torch.inference_mode():
            returned = module(**zeros)
    except Exception as error:
        raise ModelLoadError(
            f"it cannot score {_PROBED_ROWS} rows of zeros: {one_line(error)}; compare the options "
            f"{OPTION_PREFIX}NAME with what forward takes"
        ) from error
    results = named_results(returned, ModelLoadError)
    specs = {}
    for name in selected_outputs(results, descriptor):
        tensor = results[name]
        if tensor.shape[:1] != (_PROBED_ROWS,):
            raise ModelLoadError(
                f"output {name!r} has shape {list(tensor.shape)} for {_PROBED_ROWS} rows; its first dimension must be "
                "the rows"
            )
        specs[name] = TensorSpec(name, DTYPES[tensor.dtype], (None,) * tensor.dim())
    return specs


def _nodes(graph: Any) -> Iterator[Any]:
    """All nodes, also those within branches, loops and calls that run in parallel."""
    for node in graph.nodes():
        yield node
        for block in node.blocks():
            yield from _nodes(block)
        for name in node.attributeNames():
            if node.kindOf(name) == "g":
                yield from _nodes(node.g(name))


def _check_node(node: Any) -> None:
    kind = str(node.kind())
    namespace, _, name = kind.partition("::")
    reason = "changes the state of the model" if kind == "prim::SetAttr" else refusal(namespace, name)
    if reason is not None:
        raise ModelLoadError(f"the program has the operator {kind}, which {reason}")
