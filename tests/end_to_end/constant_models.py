"""A model of each type that runs in the process, whose answer is always the same number."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tests.distributions import Write
from tests.models.scorers.frozen_graphs import frozen
from tests.models.scorers.h2o_mojo import mojos
from tests.models.scorers.keras_models import converted
from tests.models.scorers.pmml import exported
from tests.saved_models import save_version_model


@dataclass(frozen=True)
class ConstantModel:
    """How to save such a model, the names of its only input and of the output with the number, and its options."""

    save: Callable[[Path, int], Path]
    takes: str
    gives: str
    options: Mapping[str, str] = field(default_factory=dict)


def _features() -> Any:
    return np.arange(40, dtype=np.float32)[:, None]


def _tree(number: int) -> Any:
    from sklearn.tree import DecisionTreeRegressor

    return DecisionTreeRegressor().fit(_features(), np.full(40, float(number)))


def _save_pmml(folder: Path, number: int) -> Path:
    path = folder / "model.pmml"
    path.write_bytes(exported.document(["x0"], [], exported.tree(_tree(number), ["x0"], [])))
    return path


def _save_pfa(folder: Path, number: int) -> Path:
    path = folder / "model.pfa"
    fields = [{"name": "x", "type": "double"}]
    document = {
        "input": {"type": "record", "name": "Datum", "fields": fields},
        "output": "double",
        "action": {"+": [{"*": [0.0, "input.x"]}, float(number)]},
    }
    path.write_text(json.dumps(document))
    return path


def _save_onnx(folder: Path, number: int) -> Path:
    from skl2onnx import to_onnx

    path = folder / "model.onnx"
    path.write_bytes(to_onnx(_tree(number), _features()).SerializeToString())
    return path


def _save_sklearn(folder: Path, number: int) -> Path:
    import skops.io

    path = folder / "model.skops"
    skops.io.dump(_tree(number), path)
    return path


def _save_mlflow(folder: Path, number: int) -> Path:
    from tests.models.scorers.logged_models import save_sklearn

    return save_sklearn(folder / "logged", _tree(number), _features())


def _save_xgboost(folder: Path, number: int) -> Path:
    from xgboost import XGBRegressor

    path = folder / "model.ubj"
    XGBRegressor(n_estimators=1, base_score=number).fit(_features(), np.full(40, float(number))).save_model(path)
    return path


def _save_lightgbm(folder: Path, number: int) -> Path:
    from lightgbm import LGBMRegressor

    path = folder / "model.txt"
    model = LGBMRegressor(n_estimators=1, verbose=-1).fit(_features(), np.full(40, float(number)))
    model.booster_.save_model(str(path))
    return path


def _save_graph(folder: Path, number: int) -> Path:
    path = folder / "model.pb"
    specs = [tf.TensorSpec([None], tf.float32, name="x")]
    path.write_bytes(frozen(tf.function(lambda x: 0.0 * x + number, input_signature=specs)).SerializeToString())
    return path


_FUNCTION = """
from models.functions import Column, column_function

@column_function(inputs={"x": Column("float32")}, outputs={"y": Column("float32")})
def constant(columns, number):
    return {"y": 0 * columns["x"] + number}
"""


_HANDLER = """
from apache_beam.ml.inference.onnx_inference import OnnxModelHandlerNumpy
from models.functions import Column
from transforms.model_handlers import InstalledHandler

CONSTANT = InstalledHandler(OnnxModelHandlerNumpy, inputs={"X": Column("float32", (1,))}, batch="matrix")
"""


def install_code(install: Write) -> None:
    """Installs the function that models of the type `python` call, and the handler of `beam-model-handler`."""
    install("constant-functions", "beam_serving.functions", "constant", _FUNCTION, "constant_functions:constant")
    install("constant-handlers", "beam_serving.model_handlers", "constant", _HANDLER, "constant_handlers:CONSTANT")


def _save_function(folder: Path, number: int) -> Path:
    path = folder / "model.json"
    path.write_text(json.dumps({"function": "constant", "parameters": {"number": number}}))
    return path


def _dense(number: int) -> Any:
    bias = tf.keras.initializers.Constant(number)
    layer = tf.keras.layers.Dense(1, kernel_initializer="zeros", bias_initializer=bias, name="out")
    return tf.keras.Sequential([tf.keras.Input((1,), name="x"), layer])


def _save_lite(folder: Path, number: int) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(converted(_dense(number)))
    return path


def _save_keras(folder: Path, number: int) -> Path:
    path = folder / "model.keras"
    _dense(number).save(path)
    return path


def _save_mojo(folder: Path, number: int) -> Path:
    path = folder / "model.zip"
    path.write_bytes(mojos.constant(number))
    return path


CONSTANT_MODELS: Mapping[str, ConstantModel] = {
    "beam-model-handler": ConstantModel(_save_onnx, "X", "prediction", {"handler": "constant"}),
    "h2o-mojo": ConstantModel(_save_mojo, "x", "prediction"),
    "keras": ConstantModel(_save_keras, "x", "out"),
    "lightgbm": ConstantModel(_save_lightgbm, "X", "prediction"),
    "mlflow": ConstantModel(_save_mlflow, "X", "prediction"),
    "onnx": ConstantModel(_save_onnx, "X", "variable"),
    "pfa": ConstantModel(_save_pfa, "x", "output"),
    "pmml": ConstantModel(_save_pmml, "x0", "y"),
    "python": ConstantModel(_save_function, "x", "y"),
    "sklearn": ConstantModel(_save_sklearn, "X", "prediction"),
    "tensorflow-graph": ConstantModel(_save_graph, "x", "Identity"),
    "tensorflow-lite": ConstantModel(_save_lite, "x", "output_0"),
    "tensorflow-saved-model": ConstantModel(lambda folder, number: save_version_model(folder, number), "x", "version"),
    "xgboost": ConstantModel(_save_xgboost, "X", "prediction"),
}
