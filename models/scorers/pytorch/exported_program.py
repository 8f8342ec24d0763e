"""Opens exported programs (.pt2), which know the types and shapes of their inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree

from models.errors import ModelLoadError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers.in_process import selected_outputs
from models.scorers.pytorch.archive_records import ArchiveRecords
from models.scorers.pytorch.exported_records import check_records
from models.scorers.pytorch.operators import refusal
from models.scorers.pytorch.program import DTYPES, SIGNATURE, Program, named_results, one_line
from models.tensors import Signature, TensorSpec

REMEDY = "export it with dynamic_shapes={{{name!r}: {{0: torch.export.Dim('rows')}}}}"
_PYTHON_OPERATORS = ("_operator", "math", "torch")


def open_exported_program(path: Path, descriptor: ModelDescriptor, allow_code: Callable[[str], None]) -> Program:
    """Loads an exported program.

    Args:
      path: the file, with the suffix .pt2.
      descriptor: the descriptor, which selects the outputs.
      allow_code: raises unless the deployment allows loading to run code; its argument describes the code.

    Raises:
      PickleRefusedError: from `allow_code`.
      ModelLoadError: the program is broken, does more than compute, has state, or takes a fixed number of rows.
    """
    if any(name.startswith("input.") for name in descriptor.options):
        raise ModelLoadError("an exported program knows its inputs; leave the options input.NAME out")
    check_records(ArchiveRecords.open(path), allow_code)
    try:
        program = torch.export.load(str(path))
        # The guards would be Python code from the file; our own checks of shapes and types replace them.
        module = program.module(check_guards=False)
    except Exception as error:
        raise ModelLoadError(f"PyTorch cannot load it as an exported program: {one_line(error)}") from error
    _check_graph(program)
    inputs = _inputs(program)
    # PyTorch's hooks check the sizes again, which takes several times as long as a small batch.
    checked_by_us = all(size is not None for spec in inputs.values() for size in (spec.shape or ())[1:])
    run = module.forward if checked_by_us else module
    call = _called_by_name(run, tuple(inputs), program.call_spec.in_spec.children()[0].num_children)
    return Program(call, Signature(SIGNATURE, inputs, _outputs(program, descriptor)))


def _called_by_name(run: Callable[..., Any], names: tuple[str, ...], positional: int) -> Callable[..., Any]:
    """The program as a function of named inputs, each of which is passed in the way its example input was."""

    def call(**tensors: torch.Tensor) -> Any:
        arguments = [tensors[name] for name in names[:positional]]
        return run(*arguments, **{name: tensors[name] for name in names[positional:]})

    return call


def _check_graph(program: Any) -> None:
    signature = program.graph_signature
    changed = [*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()]
    if changed:
        raise ModelLoadError(f"each call changes {changed[0]!r}; call model.eval() before you export it")
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            _check_node(node)


def _check_node(node: Any) -> None:
    if node.op != "call_function":
        return
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        namespace, _, name = target._schema.name.partition("::")
        reason = refusal(namespace, name)
        if name == "dropout" and len(node.args) > 2 and node.args[2] is True:
            reason = "drops values at random, as in training; call model.eval() before you export it"
    elif isinstance(target, torch._ops.HigherOrderOperator):
        reason = None if target.name() in ("cond", "while_loop", "map_impl", "scan") else "is not served"
    else:
        reason = None if getattr(target, "__module__", "") in _PYTHON_OPERATORS else "is not one of PyTorch's own"
    if reason is not None:
        raise ModelLoadError(f"the program has the operator {target}, which {reason}")


def _inputs(program: Any) -> dict[str, TensorSpec]:
    names = list(program.graph_signature.user_inputs)
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    arguments, keywords = program.call_spec.in_spec.children()
    if len(names) != arguments.num_leaves + keywords.num_leaves or not all(isinstance(name, str) for name in names):
        raise ModelLoadError("all inputs must be tensors")
    parameters = _parameters(program, arguments, keywords)
    specs = {}
    for parameter, name in zip(parameters, names, strict=True):
        spec = _spec("input", parameter, values.get(name))
        _check_rows(parameter, values[name].shape[0] if spec.shape else 1, program.range_constraints)
        specs[parameter] = spec
    if not specs:
        raise ModelLoadError("the model has no inputs, so no record could make a difference to it")
    return specs


def _parameters(program: Any, arguments: Any, keywords: Any) -> list[str]:
    """The names of the parameters of `forward`, each of which takes one tensor."""
    if not all(child.is_leaf() for child in (*arguments.children(), *keywords.children())):
        raise ModelLoadError("an input is a list, tuple or dict; export a model whose parameters are tensors")
    names = program.module_call_graph[0].signature.forward_arg_names
    if names is None:
        raise ModelLoadError("it does not name the parameters of forward; export it with a newer PyTorch")
    return [str(name) for name in names]


def _check_rows(name: str, size: Any, limits: Mapping[Any, Any]) -> None:
    """Checks that the first dimension of an input may have any size."""
    remedy = REMEDY.format(name=name)
    if not isinstance(size, torch.SymInt):
        raise ModelLoadError(f"input {name!r} takes {size} rows and no other number; {remedy}")
    symbol = size.node.expr
    limit = limits.get(symbol)
    if not symbol.is_Symbol or limit is None or limit.lower > 1 or bool(limit.upper.is_Integer):
        shown = symbol if limit is None else f"{limit.lower} to {limit.upper}"
        raise ModelLoadError(f"input {name!r} takes {shown} rows, but any number must fit; {remedy}")


def _outputs(program: Any, descriptor: ModelDescriptor) -> dict[str, TensorSpec]:
    (node,) = (node for node in program.graph.nodes if node.op == "output")
    found = [getattr(one, "meta", {}).get("val", one) for one in node.args[0]]
    results = named_results(pytree.tree_unflatten(found, program.call_spec.out_spec), ModelLoadError)
    specs = {}
    for name in selected_outputs(results, descriptor):
        specs[name] = _spec("output", name, results[name])
        if not results[name].shape or not isinstance(results[name].shape[0], torch.SymInt):
            raise ModelLoadError(f"output {name!r} has shape {list(results[name].shape)}, without a row for each row")
    return specs


def _spec(what: str, name: str, value: Any) -> TensorSpec:
    if not isinstance(value, torch.Tensor):
        raise ModelLoadError(f"{what} {name!r} is a {type(value).__name__}, not a tensor")
    if value.dtype not in DTYPES:
        raise ModelLoadError(f"{what} {name!r} is {value.dtype}, which records and results cannot hold")
    sizes = tuple(None if isinstance(size, torch.SymInt) else int(size) for size in value.shape)
    return TensorSpec(name, DTYPES[value.dtype], (None, *sizes[1:]) if sizes else ())
