"""Tiny ONNX graphs, built node by node, for cases that no library exports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

OPSET = 18
Shape = Sequence[int | str | None] | None


def identity(kind: int, shape: Shape = (None,), name: str = "same") -> bytes:
    """A graph that returns its input `a` as `b`, with an ONNX element type."""
    inputs = [helper.make_tensor_value_info("a", kind, shape)]
    outputs = [helper.make_tensor_value_info("b", kind, shape)]
    return _model(helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], name, inputs, outputs))


def mean() -> bytes:
    """A graph whose output `b` is one number, whatever the number of rows."""
    inputs = [helper.make_tensor_value_info("a", TensorProto.FLOAT, [None])]
    outputs = [helper.make_tensor_value_info("b", TensorProto.FLOAT, [])]
    node = helper.make_node("ReduceMean", ["a"], ["b"], keepdims=0)
    return _model(helper.make_graph([node], "mean", inputs, outputs))


def constant() -> bytes:
    """A graph without inputs."""
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], [1.0])
    outputs = [helper.make_tensor_value_info("b", TensorProto.FLOAT, [1])]
    return _model(helper.make_graph([helper.make_node("Constant", [], ["b"], value=value)], "constant", [], outputs))


def unknown_operator() -> bytes:
    """A graph that needs an operator from another domain, which only a separate library could provide."""
    inputs = [helper.make_tensor_value_info("a", TensorProto.FLOAT, [None])]
    outputs = [helper.make_tensor_value_info("b", TensorProto.FLOAT, [None])]
    graph = helper.make_graph([helper.make_node("Steal", ["a"], ["b"], domain="evil.example")], "g", inputs, outputs)
    return _model(graph, helper.make_opsetid("evil.example", 1))


def with_weights_at(location: str) -> bytes:
    """A graph that adds four float32 weights, stored in another file, to `a` [None, 4]."""
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        weights.external_data.add(key=key, value=value)
    inputs = [helper.make_tensor_value_info("a", TensorProto.FLOAT, [None, 4])]
    outputs = [helper.make_tensor_value_info("b", TensorProto.FLOAT, [None, 4])]
    node = helper.make_node("Add", ["a", "w"], ["b"])
    return _model(helper.make_graph([node], "add", inputs, outputs, [weights]))


def write(path: Path, content: bytes) -> Path:
    """Writes a model, and the folders above it, and returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _model(graph: onnx.GraphProto, *others: onnx.OperatorSetIdProto) -> bytes:
    opsets = [helper.make_opsetid("", OPSET), *others]
    content: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return content
