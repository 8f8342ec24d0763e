"""Saves ten tiny models: `python examples/loan/make_models.py FOLDER`.

Each model looks at one aspect of a loan application. Its inputs are fields of the application, float32 [n]; its output
`risk` [n] is a probability that is computed from guessed weights.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

# The weight of each field, and the bias.
MODELS: Mapping[str, tuple[Mapping[str, float], float]] = {
    "income": ({"income": -0.05}, 1.5),
    "burden": ({"amount": 0.08, "income": -0.06}, -0.5),
    "debt": ({"debt": 0.1, "income": -0.04}, -0.5),
    "savings": ({"savings": -0.15, "amount": 0.03}, 0.2),
    "housing": ({"housing_cost": 0.15, "income": -0.05}, 0.0),
    "employment": ({"years_employed": -0.4}, 1.0),
    "history": ({"years_of_history": -0.25}, 1.0),
    "lateness": ({"late_payments": 0.9}, -2.0),
    "inquiries": ({"inquiries": 0.5}, -1.5),
    "utilisation": ({"utilisation": 5.0}, -3.0),
}


def save_risk_model(folder: Path, weights: Mapping[str, float], bias: float) -> None:
    """Saves a logistic regression on the fields that have weights."""
    module = tf.Module()
    module.weights = tf.Variable(list(weights.values()))
    module.bias = tf.Variable(bias)

    def risk(*fields: Any) -> dict[str, Any]:
        return {"risk": tf.sigmoid(tf.linalg.matvec(tf.stack(fields, axis=1), module.weights) + module.bias)}

    specs = [tf.TensorSpec([None], tf.float32, name=name) for name in weights]
    module.call = tf.function(risk, input_signature=specs)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.call})


def main() -> None:
    """Saves each model into a folder with its name."""
    for name, (weights, bias) in MODELS.items():
        save_risk_model(Path(sys.argv[1]) / name, weights, bias)
    print(f"{len(MODELS)} models saved in {sys.argv[1]}")


if __name__ == "__main__":
    main()
