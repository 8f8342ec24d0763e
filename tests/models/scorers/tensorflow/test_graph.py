"""Behaviour specific to frozen graphs; the contract covers the rest. TensorFlow freezes them, and is the oracle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.artifacts.archive import zip_folder
from models.artifacts.local_opener import LocalOpener
from models.errors import ModelLoadError, ScoringError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers.base import ModelSource, Scorer
from models.scorers.tensorflow.graph import load
from models.scorers.tensorflow.operations import refusal
from models.tensors import TensorSpec
from tests.models.scorers.contract import assert_close
from tests.models.scorers.frozen_graphs import built, frozen, linear, placeholder
from tests.models.scorers.learned import FEATURES, rows_of

FLOAT32 = np.dtype(np.float32)


def opened(content: bytes, **fields: Any) -> Scorer:
    return load(ModelSource(ModelDescriptor("m", "tensorflow-graph", 3, **fields), content, LocalOpener()))


def linear_graph() -> bytes:
    return bytes(frozen(linear(1.0)).SerializeToString())


def two_ends() -> None:
    x, y = placeholder("x"), placeholder("y")
    total = tf.add(x, y, name="sum")
    tf.multiply(total, 2.0, name="doubled")
    tf.unstack(tf.stack([x, y]), name="parts")


def test_the_signature_is_that_of_the_graph() -> None:
    signature = opened(linear_graph()).signature
    assert signature.name == "graph"
    assert signature.inputs == {"v": TensorSpec("v", FLOAT32, (None, FEATURES))}
    assert signature.outputs == {"Identity": TensorSpec("Identity", FLOAT32, (None, 3))}


def test_the_descriptor_names_outputs_and_only_what_they_need_goes_in() -> None:
    scorer = opened(built(two_ends), outputs={"a": "doubled", "b": "parts:1"})
    assert scorer.signature.inputs.keys() == {"x", "y"}
    outputs = scorer.score({"x": np.ones(2, np.float32), "y": np.zeros(2, np.float32)}).outputs
    assert {name: values.tolist() for name, values in outputs.items()} == {"doubled": [2, 2], "parts:1": [0, 0]}


def test_an_input_may_be_any_tensor_and_replaces_the_placeholders_behind_it() -> None:
    scorer = opened(built(two_ends), inputs={"sum:0": ("amount",)}, outputs={"a": "doubled"})
    assert scorer.signature.inputs.keys() == {"sum:0"}
    assert scorer.score({"sum:0": np.ones(2, np.float32)}).outputs["doubled"].tolist() == [2, 2]


def test_an_output_may_be_an_input_or_the_same_tensor_as_another_one() -> None:
    inputs = {"x": np.array([1, 2], np.float32), "y": np.array([3, 5], np.float32)}
    echo = opened(built(two_ends), outputs={"a": "x", "b": "sum"}).score(inputs).outputs
    assert {name: values.tolist() for name, values in echo.items()} == {"x": [1, 2], "sum": [4, 7]}
    twice = opened(built(two_ends), outputs={"a": "sum", "b": "sum:0"}).score(inputs).outputs
    assert {name: values.tolist() for name, values in twice.items()} == {"sum": [4, 7], "sum:0": [4, 7]}


def test_values_that_lie_apart_in_memory_are_scored_as_others() -> None:
    scorer = opened(linear_graph())
    rows = rows_of(6)
    apart = np.asfortranarray(rows)[::2]
    np.testing.assert_array_equal(
        scorer.score({"v": apart}).outputs["Identity"], scorer.score({"v": rows[::2].copy()}).outputs["Identity"]
    )


@pytest.mark.parametrize("shape", [(2, 3), (2,), (2, 4, 1)])
def test_a_shape_that_the_graph_would_broadcast_is_an_error(shape: tuple[int, ...]) -> None:
    scorer = opened(built(lambda: tf.multiply(placeholder("x", shape=(None, 4)), 2.0, name="y")))
    with pytest.raises(ScoringError, match=r"input 'x' has shape .*, but \[2, 4\] is expected"):
        scorer.score({"x": np.ones(shape, np.float32)})


def test_a_placeholder_on_which_only_a_check_depends_is_an_input() -> None:
    def checked(x: Any, limit: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_less(x, limit, message="x is too high")]):
            return tf.identity(x)

    specs = [tf.TensorSpec([None], tf.float32, name=name) for name in ("x", "limit")]
    function = tf.function(checked, input_signature=specs)
    scorer = opened(frozen(function).SerializeToString(), outputs={"a": "Identity"})
    assert scorer.signature.inputs.keys() == {"x", "limit"}
    with pytest.raises(ScoringError, match="x is too high"):
        scorer.score({"x": np.ones(1, np.float32), "limit": np.zeros(1, np.float32)})


def test_a_recurrent_network_scores_as_keras_does() -> None:
    keras = tf.keras
    layers = [keras.Input((FEATURES,)), keras.layers.Reshape((FEATURES, 1)), keras.layers.LSTM(3)]
    model = keras.Sequential(layers)
    specs = [tf.TensorSpec([None, FEATURES], tf.float32, name="v")]
    function = tf.function(lambda v: model(v), input_signature=specs)
    scorer = opened(frozen(function).SerializeToString(), outputs={"out": "Identity"})
    rows = rows_of(1_000)
    found = scorer.score({"v": rows}).outputs["Identity"]
    assert_close(found, model(rows).numpy(), 1e-5)


def test_texts_go_in_and_out_as_bytes() -> None:
    scorer = opened(built(lambda: tf.strings.upper(placeholder("text", tf.string), name="shout")))
    assert scorer.score({"text": np.array([b"a", b"b"], object)}).outputs["shout"].tolist() == [b"A", b"B"]


def test_a_device_that_this_machine_lacks_is_ignored() -> None:
    def build() -> None:
        with tf.device("/device:GPU:7"):
            tf.identity(placeholder(), name="same")

    assert opened(built(build)).score({"x": np.ones(1, np.float32)}).outputs["same"].tolist() == [1]


def test_it_is_found_in_a_zip_file(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "frozen.pb").write_bytes(linear_graph())
    (folder / "notes.txt").write_text("notes")
    assert opened(zip_folder(folder)).signature.inputs.keys() == {"v"}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"inputs": {"w": ("a",)}}, "no tensor 'w', which the descriptor names as an input; its placeholders are: v"),
        ({"outputs": {"a": "out"}}, "no tensor 'out', which the descriptor names as an output"),
        ({"outputs": {"a": "Identity:7"}}, "no tensor 'Identity:7'"),
        ({"outputs": {"a": "Identity:x:y"}}, "no tensor 'Identity:x:y'"),
        ({"signature": "predict"}, "no signature 'predict'; its only one is 'graph'"),
    ],
)
def test_a_tensor_that_is_missing_is_named(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelLoadError, match=f"^model 'm' version 3: .*{reason}"):
        opened(linear_graph(), **fields)


def read_file() -> None:
    tf.io.read_file(placeholder("path", tf.string, ()), name="secret")


def write_file() -> None:
    with tf.control_dependencies([tf.io.write_file("/tmp/x", placeholder("text", tf.string, ()))]):
        tf.identity(placeholder(), name="same")


def run_python() -> None:
    tf.raw_ops.PyFunc(input=[placeholder()], token="pyfunc_0", Tout=[tf.float32], name="python")


def variable() -> None:
    tf.add(placeholder(), tf.compat.v1.get_variable("w", initializer=1.0, use_resource=True))


def call_function() -> None:
    tf.identity(tf.function(lambda x: x + 1.0)(placeholder()))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (read_file, "node 'secret' is the operation ReadFile, which may act on the worker"),
        (write_file, "'WriteFile' is the operation WriteFile, which may act"),
        (run_python, "node 'python' is the operation PyFunc, which may act"),
        (variable, "operation VarHandleOp, which has state .*freeze the graph"),
        (call_function, "operation (Stateful)?PartitionedCall, which .*freeze the graph"),
        (lambda: tf.random.uniform([2], name="dice"), "operation RandomUniform, which has state"),
        (two_ends, r"the graph has 2 ends \(doubled, parts\), so name the outputs"),
        (lambda: tf.constant(1.0), "the graph has 0 ends"),
        (lambda: tf.identity(tf.constant([1.0]), name="same"), "the outputs same depend on no input"),
        (lambda: tf.identity(placeholder(shape=(1, 4))), "first dimension is fixed; freeze the graph with"),
        (lambda: tf.reduce_mean(placeholder()), r"has the shape \[\], whose first"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(build: Callable[[], Any], reason: str) -> None:
    with pytest.raises(ModelLoadError, match=f"^model 'm' version 3: .*{reason}"):
        opened(built(build))


@pytest.mark.parametrize(
    ("operation", "refused"),
    [
        *((name, False) for name in ("MatMul", "Assert", "TensorListReserve", "TensorArrayV3", "Switch")),
        *((name, True) for name in ("EagerPyFunc", "PyFuncStateless", "MatchingFiles", "TextLineDataset", "PrintV2")),
        *((name, True) for name in ("DecodeProtoV2", "GenerateVocabRemapping", "DebugIdentity", "XlaCustomCall")),
        *((name, True) for name in ("RestoreV2", "SaveV2", "HashTableV2", "InitializeTableFromTextFile", "Nonsense")),
        *((name, True) for name in ("RpcClient", "DataServiceDataset", "LoadDataset", "StatefulPartitionedCall")),
    ],
)
def test_operations(operation: str, refused: bool) -> None:
    assert (refusal(operation) is not None) is refused


def test_an_unknown_operation_is_named() -> None:
    graph = tf.compat.v1.GraphDef.FromString(linear_graph())
    graph.node.add(name="harm", op="EvilOp")
    with pytest.raises(
        ModelLoadError, match="node 'harm' is the operation EvilOp, which this TensorFlow does not know"
    ):
        opened(graph.SerializeToString())


def test_a_bomb_is_refused_before_it_takes_memory() -> None:
    graph = tf.compat.v1.GraphDef.FromString(linear_graph())
    (weights,) = (node for node in graph.node if node.op == "Const" and len(node.attr["value"].tensor.tensor_shape.dim))
    del weights.attr["value"].tensor.tensor_shape.dim[:]
    weights.attr["value"].tensor.ClearField("tensor_content")
    weights.attr["value"].tensor.float_val.append(1.0)
    for size in (10**6, 10**6):
        weights.attr["value"].tensor.tensor_shape.dim.add(size=size)
    content = graph.SerializeToString()
    assert len(content) < 2_000
    with pytest.raises(ModelLoadError, match="the constants of the graph would take 4000000000000 bytes, more than"):
        opened(content)


def test_a_graph_that_is_cut_off_anywhere_is_refused() -> None:
    content = linear_graph()
    for length in range(len(content)):
        with pytest.raises(ModelLoadError, match=r"not a GraphDef|truncated"):
            opened(content[:length])


@settings(max_examples=25)  # each opens a session
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_graph_is_refused_or_scores_or_fails_but_does_nothing_else(damages: list[tuple[int, int]]) -> None:
    content = bytearray(linear_graph())
    for place, byte in damages:
        content[place % len(content)] = byte
    try:
        scorer = opened(bytes(content), outputs={"out": "Identity"})
        scorer.score({name: rows_of(3) for name in scorer.signature.inputs})
    except (ModelLoadError, ScoringError) as error:
        assert "\n" not in str(error)
