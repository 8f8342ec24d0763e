"""Trains the two models of the demo, a weak one and a good one: `python -m beam_pipeline.demo.training FOLDER`.

It runs in its own process, so that TensorFlow's output does not reach the terminal of the demo. Both models are
SavedModels with the signature `predict`: from `inputs` [n, 11] float32 to `outputs` [n, 9] float32, the probability of
each quality from 0 to 8. They normalise their inputs themselves.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from beam_pipeline.demo.wine import load_wines
from beam_pipeline.publishing.wine_data import MEASURES, QUALITIES, Wine

SIGNATURE = "predict"


@dataclass(frozen=True)
class Recipe:
    """How a model is trained, with Adam on the full batch.

    Attributes:
      rows: the number of training rows; None for all.
      hidden: the number of neurons in the hidden layer; 0 for no layer, which is logistic regression.
      steps: the number of optimiser steps.
      rate: the learning rate.
      decay: the weight of the L2 penalty.
    """

    rows: int | None
    hidden: int
    steps: int
    rate: float
    decay: float


# The parameters of the good model were chosen by cross-validation on the training rows only.
RECIPES = {
    "weak": Recipe(rows=80, hidden=0, steps=60, rate=0.05, decay=0.0),
    "good": Recipe(rows=None, hidden=128, steps=300, rate=0.02, decay=0.003),
}


def train(recipe: Recipe, wines: Sequence[Wine]) -> Any:
    """Trains a model; the result is a tf.Module for `save`."""
    import tensorflow as tf

    tf.random.set_seed(1)
    chosen = wines[: recipe.rows]
    measures = np.array([wine.measures for wine in chosen], np.float32)
    module = _module(recipe, measures)
    weights = list(module.trainable_variables)
    optimizer = tf.keras.optimizers.Adam(recipe.rate)
    optimizer.build(weights)
    inputs, qualities = tf.constant(measures), tf.constant([wine.quality for wine in chosen])

    @tf.function  # type: ignore[untyped-decorator, unused-ignore]
    def step() -> None:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(qualities, _logits(module, inputs))
            size = tf.add_n([tf.reduce_sum(kernel * kernel) for kernel in module.kernels])
            loss = tf.reduce_mean(losses) + recipe.decay * size
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    for _ in range(recipe.steps):
        step()
    return module


def save(module: Any, folder: Path) -> None:
    """Writes a trained model as a SavedModel with the signature `predict`."""
    import tensorflow as tf

    spec = tf.TensorSpec([None, len(MEASURES)], tf.float32, name="inputs")
    module.predict = tf.function(
        lambda inputs: {"outputs": tf.nn.softmax(_logits(module, inputs))}, input_signature=[spec]
    )
    tf.saved_model.save(module, str(folder), signatures={SIGNATURE: module.predict})


def _module(recipe: Recipe, measures: Any) -> Any:
    import tensorflow as tf

    sizes = [len(MEASURES), *([recipe.hidden] if recipe.hidden else []), QUALITIES]
    module = tf.Module()
    module.mean = tf.constant(measures.mean(axis=0))
    module.spread = tf.constant(measures.std(axis=0) + 1e-6)
    module.kernels = [
        tf.Variable(tf.random.normal([wide, narrow], stddev=(2 / wide) ** 0.5))
        for wide, narrow in itertools.pairwise(sizes)
    ]
    module.biases = [tf.Variable(tf.zeros([size])) for size in sizes[1:]]
    return module


def _logits(module: Any, inputs: Any) -> Any:
    import tensorflow as tf

    values = (inputs - module.mean) / module.spread
    layers = list(zip(module.kernels, module.biases, strict=True))
    for kernel, bias in layers[:-1]:
        values = tf.nn.relu(values @ kernel + bias)
    kernel, bias = layers[-1]
    return values @ kernel + bias


def main(arguments: Sequence[str]) -> int:
    """Trains each recipe and saves the model in a folder of the recipe's name, inside the given folder."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    wines = load_wines().training
    for name, recipe in RECIPES.items():
        save(train(recipe, wines), Path(arguments[0]) / name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
