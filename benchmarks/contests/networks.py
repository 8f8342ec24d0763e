"""A network of 20 features, two layers of 64 and three classes, in each format of TensorFlow, and in PyTorch."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.contests.contest import FEATURES, NAMES, Contest, float_matrix_of
from models.tensors import Array

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_WIDTH, _CLASSES = 64, 3
_MODEL = f"network of {FEATURES}, {_WIDTH}, {_WIDTH}, {_CLASSES}"


@cache
def _network() -> Any:
    import tensorflow as tf

    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            tf.keras.Input((FEATURES,), name="v"),
            layers.Dense(_WIDTH, activation="relu"),
            layers.Dense(_WIDTH, activation="relu"),
            layers.Dense(_CLASSES, activation="softmax", name="out"),
        ]
    )


def _contest(path: Path, bare: Callable[[Array], Any], output: str, takes: str = "v") -> Contest:
    return Contest(str(path), bare, output, {takes: NAMES}, ready=float_matrix_of)


def keras(folder: Path) -> Contest:
    """The rival is Keras's own compiled prediction of a batch."""
    path = folder / "network.keras"
    _network().save(path)
    return _contest(path, _network().predict_on_batch, "out")


def saved_model(folder: Path) -> Contest:
    """The rival is the loaded signature, called with a tensor of the rows."""
    import tensorflow as tf

    path = folder / "saved"
    with redirect_stdout(io.StringIO()):  # Keras prints a description of the saved model
        _network().export(str(path))
    function = tf.saved_model.load(str(path)).signatures["serving_default"]
    return _contest(path, lambda rows: function(v=tf.constant(rows))["output_0"].numpy(), "output_0")


def graph(folder: Path) -> Contest:
    """The rival is a session of TensorFlow."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    network = _network()
    function = tf.function(lambda v: network(v), input_signature=[tf.TensorSpec([None, FEATURES], name="v")])
    frozen = convert_variables_to_constants_v2(function.get_concrete_function()).graph.as_graph_def()
    path = folder / "network.pb"
    path.write_bytes(frozen.SerializeToString())
    opened = tf.Graph()
    with opened.as_default():
        tf.import_graph_def(frozen, name="")
    session = tf.compat.v1.Session(graph=opened)
    return _contest(path, lambda rows: session.run("Identity:0", {"v:0": rows}), "Identity")


def lite(folder: Path) -> Contest:
    """The rival is an interpreter on one thread, like ours, with tensors that already have the size of the batch."""
    import tensorflow as tf

    path = folder / "network.tflite"
    with redirect_stdout(io.StringIO()):
        content = tf.lite.TFLiteConverter.from_keras_model(_network()).convert()
    path.write_bytes(content)
    interpreter = tf.lite.Interpreter(model_content=content, num_threads=1)
    taken, given = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    sized = {"rows": -1}

    def bare(rows: Array) -> Any:
        if sized["rows"] != len(rows):
            sized["rows"] = len(rows)
            interpreter.resize_tensor_input(taken, list(rows.shape))
            interpreter.allocate_tensors()
        interpreter.set_tensor(taken, rows)
        interpreter.invoke()
        return interpreter.get_tensor(given)

    return _contest(path, bare, "output_0")


def pytorch(folder: Path) -> Contest:
    """The rival is the module itself, on one thread, like ours."""
    import torch

    class Network(torch.nn.Module):
        """The same layers."""

        def __init__(self) -> None:
            super().__init__()
            nn = torch.nn
            inner = (nn.Linear(FEATURES, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, _WIDTH), nn.ReLU())
            self.layers = nn.Sequential(*inner, nn.Linear(_WIDTH, _CLASSES), nn.Softmax(dim=1))

        def forward(self, v: torch.Tensor) -> torch.Tensor:
            """Probabilities."""
            answer: torch.Tensor = self.layers(v)
            return answer

    network = Network().eval()
    sizes = ({0: torch.export.Dim("rows")},)
    path = folder / "network.pt2"
    torch.export.save(torch.export.export(network, (torch.zeros(2, FEATURES),), dynamic_shapes=sizes), path)
    torch.set_num_threads(1)

    def bare(rows: Array) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(rows)).numpy()

    return _contest(path, bare, "output")


NETWORKS = {
    "tensorflow-saved-model": (_MODEL, "TensorFlow, the signature", saved_model),
    "tensorflow-graph": (_MODEL, "TensorFlow, a session", graph),
    "tensorflow-lite": (_MODEL, "TensorFlow Lite", lite),
    "keras": (_MODEL, "Keras, predict_on_batch", keras),
    "pytorch": (_MODEL, "PyTorch", pytorch),
}
