"""Saves a tiny model: `python examples/sensors/make_model.py FOLDER`.

Input `readings` [n, 2]: temperature and vibration. Output `risk` [n]: a probability, computed from guessed weights.
"""

from __future__ import annotations

import sys
from typing import Any

import tensorflow as tf


class Risk(tf.Module):
    """Logistic regression on two readings."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable([0.05, 0.4])
        self.bias = tf.Variable(-5.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="readings")])
    def __call__(self, readings: Any) -> dict[str, Any]:
        """The risk of each row."""
        return {"risk": tf.sigmoid(tf.linalg.matvec(readings, self.weights) + self.bias)}


def main() -> None:
    """Saves the model into the folder that the argument names."""
    model = Risk()
    tf.saved_model.save(model, sys.argv[1], signatures={"serving_default": model.__call__})
    print(f"saved in {sys.argv[1]}")


if __name__ == "__main__":
    main()
