"""Tiny Keras models, and their conversions to TensorFlow Lite."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

from tests.models.scorers.learned import FEATURES, rows_of


@cache
def classifier(seed: int) -> Any:
    """`v` float32 [None, 11] -> probabilities float32 [None, 3]; the layers are `hidden` and `out`."""
    layers = tf.keras.layers
    started = tf.keras.initializers.GlorotUniform(seed=seed)
    return tf.keras.Sequential(
        [
            tf.keras.Input((FEATURES,), name="v"),
            layers.Dense(8, activation="relu", name="hidden", kernel_initializer=started),
            layers.Dropout(0.5),
            layers.Dense(3, activation="softmax", name="out", kernel_initializer=started),
        ]
    )


@cache
def converted(model: Any) -> bytes:
    """The .tflite file of a Keras model, in floats."""
    return bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


@cache
def quantized(model: Any, kind: Any = tf.int8) -> bytes:
    """The .tflite file of a Keras model, entirely in integers."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([row[None]] for row in rows_of(200))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = kind
    return bytes(converter.convert())
