"""Small models from libraries that learn from tables, trained quickly on the same synthetic wine."""

from __future__ import annotations

import atexit
from functools import cache
from typing import Any

import numpy as np

from models.tensors import Array

FEATURES = 11
CLASSES = 3


def rows_of(count: int, seed: int = 7) -> Array:
    """Rows of features, float32 [count, 11]; the first rows are the same for each count."""
    return np.random.default_rng(seed).normal(size=(count, FEATURES)).astype(np.float32)


@cache
def training(seed: int) -> tuple[Any, Any]:
    """Features and classes to learn from; another seed has another rule."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(400, FEATURES)).astype(np.float32)
    scores = features @ random.normal(size=(FEATURES, CLASSES))
    return features, scores.argmax(axis=1)


@cache
def forest(seed: int) -> Any:
    """A scikit-learn random forest."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(10, max_depth=6, random_state=seed).fit(*training(seed))


@cache
def boosted_by_xgboost(seed: int) -> Any:
    """An XGBoost classifier."""
    import xgboost

    return xgboost.XGBClassifier(n_estimators=8, max_depth=3, n_jobs=1).fit(*training(seed))


# A booster calls XGBoost's library when it is deleted. When Python ends, it empties modules one by one: a booster in a
# cache may outlive the module of that library, and would then print an error.
atexit.register(boosted_by_xgboost.cache_clear)


@cache
def boosted_by_lightgbm(seed: int) -> Any:
    """A LightGBM classifier."""
    import lightgbm

    return lightgbm.LGBMClassifier(n_estimators=8, num_leaves=7, n_jobs=1, verbosity=-1).fit(*training(seed))
