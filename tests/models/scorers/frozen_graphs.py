"""Tiny TensorFlow graphs, frozen by TensorFlow itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tests.models.scorers.learned import FEATURES


@cache
def linear(factor: float) -> Any:
    """`v` float32 [None, 11] -> float32 [None, 3]: v through a layer whose weights are variables."""
    module = tf.Module()
    module.weights = tf.Variable(tf.random.stateless_normal([FEATURES, 3], seed=(1, 2)) * factor)

    @tf.function(input_signature=[tf.TensorSpec([None, FEATURES], tf.float32, name="v")])
    def answer(v: Any) -> Any:
        return tf.nn.softmax(tf.matmul(v, module.weights))

    answer.module = module
    return answer


def save_linear(path: Path, factor: float) -> Path:
    """Freezes `linear`, whose output is `Identity`."""
    path.write_bytes(frozen(linear(factor)).SerializeToString())
    return path


def frozen(function: Any) -> Any:
    """The GraphDef of a tf.function with an input signature, with variables as constants."""
    return convert_variables_to_constants_v2(function.get_concrete_function()).graph.as_graph_def()


def built(build: Callable[[], Any]) -> bytes:
    """A graph as TensorFlow 1 builds it, node by node; `build` creates the nodes."""
    with tf.Graph().as_default() as graph:
        build()
    return bytes(graph.as_graph_def().SerializeToString())


def placeholder(name: str = "x", kind: Any = tf.float32, shape: Any = (None,)) -> Any:
    """A placeholder."""
    return tf.compat.v1.placeholder(kind, shape, name=name)
