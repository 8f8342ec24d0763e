"""Trains the MOJO files in `data/`: `python train.py FOLDER` in an environment with h2o 3.46.0.7 and pandas, and Java.

The files are kept in the source tree because the package h2o takes 260 MB, and because later releases of it export
MOJO files only with a commercial licence (3.46.0.12 does, 3.46.0.7 does not). Nothing else needs that package.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import h2o
import numpy as np
import pandas as pd
from h2o.estimators import (
    H2ODeepLearningEstimator,
    H2OExtendedIsolationForestEstimator,
    H2OGeneralizedLinearEstimator,
    H2OGradientBoostingEstimator,
    H2OIsolationForestEstimator,
    H2OKMeansEstimator,
    H2OPrincipalComponentAnalysisEstimator,
    H2ORandomForestEstimator,
    H2OStackedEnsembleEstimator,
    H2OXGBoostEstimator,
)

ROWS = 600
FEATURES = ["alcohol", "ph", "sugar", "grape", "region"]
GRAPES = np.array(["merlot", "pinot noir", "riesling", "grüner veltliner"], object)
REGIONS = np.array([f"region {number:02}" for number in range(30)], object)


def wine(seed: int) -> pd.DataFrame:
    """Synthetic wine with missing values; another seed has another rule."""
    random = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "alcohol": random.normal(11, 2, ROWS),
            "ph": random.normal(3.3, 0.3, ROWS),
            "sugar": random.gamma(2.0, 4.0, ROWS),
            "grape": random.choice(GRAPES, ROWS),
            "region": random.choice(REGIONS, ROWS),
        }
    )
    grapes = table["grape"].map({name: place for place, name in enumerate(GRAPES)})
    regions = table["region"].map({name: place % 7 for place, name in enumerate(REGIONS)})
    weights = random.normal(size=4)
    features = (table["alcohol"] - 11, table["sugar"] / 4, grapes, regions / 2)
    score = sum(weight * values for weight, values in zip(weights, features, strict=True))
    score = score + random.normal(0, 0.3, ROWS)
    table["score"] = score
    table["good"] = np.where(score > score.median(), "yes", "no")
    table["colour"] = pd.qcut(score, 3, labels=["white", "rosé", "red"]).astype(str)
    table["grade"] = pd.qcut(score, 3, labels=["1 low", "2 medium", "3 high"]).astype(str)
    for name in FEATURES:
        table.loc[random.random(ROWS) < 0.05, name] = None
    return table


def trained(estimator: Any, target: str | None, seed: int = 1) -> Any:
    """Trains a model on the features, and on the target if there is one."""
    estimator.train(x=FEATURES, y=target, training_frame=frame_of(seed))
    return estimator


def frame_of(seed: int) -> Any:
    """The wine as a frame on the server."""
    kinds = dict.fromkeys(("grape", "region", "good", "colour", "grade"), "enum")
    return h2o.H2OFrame(wine(seed), column_types=kinds, na_strings=["nan", "None"])


def ensemble() -> Any:
    """A tree and a linear model, combined by a linear model, as AutoML's best model often is."""
    folds = {"nfolds": 2, "fold_assignment": "modulo", "keep_cross_validation_predictions": True}
    trees = trained(H2OGradientBoostingEstimator(ntrees=4, max_depth=3, seed=1, **folds), "good")
    linear = trained(H2OGeneralizedLinearEstimator(family="binomial", lambda_=0, **folds), "good")
    return trained(H2OStackedEnsembleEstimator(base_models=[trees, linear], seed=1), "good")


def models() -> dict[str, Any]:
    """All models, by the names of their files."""
    trees = {"ntrees": 5, "max_depth": 4, "seed": 1}
    return {
        "gbm_binomial": trained(H2OGradientBoostingEstimator(**trees), "good"),
        "gbm_multinomial": trained(H2OGradientBoostingEstimator(**trees), "colour"),
        "gbm_multinomial_2": trained(H2OGradientBoostingEstimator(**trees), "colour", seed=2),
        "gbm_regression": trained(H2OGradientBoostingEstimator(**trees), "score"),
        "gbm_calibrated": trained(
            H2OGradientBoostingEstimator(calibrate_model=True, calibration_frame=frame_of(3), **trees), "good"
        ),
        "gbm_one_hot": trained(H2OGradientBoostingEstimator(categorical_encoding="one_hot_explicit", **trees), "good"),
        "drf_binomial": trained(H2ORandomForestEstimator(**trees), "good"),
        "drf_multinomial": trained(H2ORandomForestEstimator(**trees), "colour"),
        "glm_binomial": trained(H2OGeneralizedLinearEstimator(family="binomial", lambda_=0), "good"),
        "glm_multinomial": trained(H2OGeneralizedLinearEstimator(family="multinomial"), "colour"),
        "glm_ordinal": trained(H2OGeneralizedLinearEstimator(family="ordinal", max_iterations=50), "grade"),
        "glm_regression": trained(H2OGeneralizedLinearEstimator(family="gaussian", lambda_=0), "score"),
        "deep_learning": trained(
            H2ODeepLearningEstimator(hidden=[6, 4], epochs=5, seed=1, reproducible=True), "colour"
        ),
        "k_means": trained(H2OKMeansEstimator(k=4, seed=1), None),
        "isolation_forest": trained(H2OIsolationForestEstimator(ntrees=10, seed=1), None),
        "isolation_forest_flag": trained(H2OIsolationForestEstimator(ntrees=10, seed=1, contamination=0.1), None),
        "extended_isolation_forest": trained(
            H2OExtendedIsolationForestEstimator(ntrees=10, seed=1, sample_size=32), None
        ),
        "stacked_ensemble": ensemble(),
        "xgboost": trained(H2OXGBoostEstimator(**trees), "good"),
        "pca": trained(H2OPrincipalComponentAnalysisEstimator(k=2, impute_missing=True), None),
    }


def copy_without_descriptions(source: Path, target: Path) -> None:
    """Copies a file without the descriptions that genmodel does not need to score, which are most of it."""
    with zipfile.ZipFile(source) as read, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as written:
        for name in read.namelist():
            if "experimental/" not in name:
                written.writestr(name, read.read(name))


def main(folder: Path) -> None:
    """Writes all models."""
    h2o.init(port=54421, max_mem_size="2g", nthreads=1)
    try:
        for name, model in models().items():
            saved = Path(model.save_mojo(str(folder), force=True))
            copy_without_descriptions(saved, folder / f"{name}.zip")
            saved.unlink()
    finally:
        h2o.cluster().shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
