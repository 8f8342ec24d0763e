"""Trains models that rate wines with three frameworks: `python examples/frameworks/train.py FOLDER`.

Each model is trained on the same wines, and saved in the format in which it is served:

- `forest.onnx`: a random forest of scikit-learn, exported to ONNX; its input `X` is float32 [n, 11], its output
  `variable` [n, 1];
- `boosted.ubj`: an XGBoost regressor that knows the names of its features, so that it has one input for each;
- `linear/`: a linear model of scikit-learn with its scaler, as logged by MLflow, also with named features.
"""

from __future__ import annotations

import sys
from pathlib import Path

import mlflow.sklearn
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBRegressor

from beam_pipeline.publishing.wine_data import MEASURES, read_wines


def training_data() -> tuple[pd.DataFrame, np.ndarray]:
    """The measurements of all wines, one column for each, and the quality of the wines."""
    wines = read_wines()
    return pd.DataFrame([wine.measures for wine in wines], columns=list(MEASURES)), np.array([w.quality for w in wines])


def save_forest(path: Path) -> None:
    """Trains the forest and exports it to ONNX."""
    measures, quality = training_data()
    matrix = measures.to_numpy(np.float32)
    forest = RandomForestRegressor(50, max_depth=8, random_state=1).fit(matrix, quality)
    path.write_bytes(to_onnx(forest, matrix[:1]).SerializeToString())


def save_boosted(path: Path) -> None:
    """Trains the XGBoost regressor, which takes the names of its features from the DataFrame."""
    measures, quality = training_data()
    XGBRegressor(n_estimators=60, max_depth=4).fit(measures, quality).save_model(path)


def save_linear(folder: Path) -> None:
    """Trains the linear model, and saves it with skops, whose format is data; a pickle would be a program."""
    measures, quality = training_data()
    model = make_pipeline(StandardScaler(), Ridge()).fit(measures.to_numpy(), quality)
    mlflow.sklearn.save_model(
        model, str(folder), signature=infer_signature(measures), serialization_format="skops", pip_requirements=[]
    )


def main() -> None:
    """Saves all three models."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    save_forest(folder / "forest.onnx")
    save_boosted(folder / "boosted.ubj")
    save_linear(folder / "linear")
    print(f"3 models saved in {folder}")


if __name__ == "__main__":
    main()
