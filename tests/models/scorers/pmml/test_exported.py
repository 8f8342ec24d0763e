"""Models trained by scikit-learn and written as PMML predict what scikit-learn predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.models.scorers.learned import FEATURES, rows_of, training
from tests.models.scorers.pmml import exported
from tests.models.scorers.pmml.evaluation import scored

NAMES = exported.names(FEATURES)
CLASSES = ["a", "b", "c"]
ROWS = rows_of(1_000).astype(np.float64)


def inputs() -> dict[str, Any]:
    return {name: ROWS[:, place] for place, name in enumerate(NAMES)}


def numbers() -> tuple[Any, Any]:
    features, _ = training(1)
    return features, np.sin(features[:, 0]) + features[:, 1] ** 2


def assert_classified(model: Any, content: bytes, classes: list[str], tolerance: float) -> None:
    outputs = scored(content, inputs())
    probabilities = np.stack([outputs[f"probability_{label}"] for label in classes], axis=1)
    np.testing.assert_allclose(probabilities, model.predict_proba(ROWS), rtol=tolerance, atol=tolerance)
    assert outputs["y"] == [classes[place] for place in model.predict(ROWS)]


def test_a_tree_that_classifies() -> None:
    from sklearn.tree import DecisionTreeClassifier

    model = DecisionTreeClassifier(max_depth=8, random_state=0).fit(*training(1))
    assert_classified(model, exported.document(NAMES, CLASSES, exported.tree(model, NAMES, CLASSES)), CLASSES, 1e-15)


def test_a_forest_that_classifies() -> None:
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(20, random_state=0).fit(*training(1))
    content = exported.document(NAMES, CLASSES, exported.forest(model, NAMES, CLASSES))
    assert_classified(model, content, CLASSES, 1e-14)


def test_a_forest_of_numbers() -> None:
    from sklearn.ensemble import RandomForestRegressor

    model = RandomForestRegressor(20, random_state=0).fit(*numbers())
    content = exported.document(NAMES, [], exported.forest(model, NAMES, []))
    np.testing.assert_allclose(scored(content, inputs())["y"], model.predict(ROWS), rtol=1e-13)


def test_boosted_trees() -> None:
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(n_estimators=30, random_state=0).fit(*numbers())
    content = exported.document(NAMES, [], exported.boosted(model, NAMES))
    np.testing.assert_allclose(scored(content, inputs())["y"], model.predict(ROWS), rtol=1e-11)


@pytest.mark.parametrize("classes", [CLASSES[:2], CLASSES], ids=len)
def test_logistic_regression(classes: list[str]) -> None:
    from sklearn.linear_model import LogisticRegression

    features, labels = training(1)
    kept = labels < len(classes)
    model = LogisticRegression().fit(features[kept].astype(np.float64), labels[kept])
    content = exported.document(NAMES, classes, exported.logistic(model, NAMES, classes))
    assert_classified(model, content, classes, 1e-12)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_neural_networks(activation: str) -> None:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    settings: dict[str, Any] = {"activation": activation, "random_state": 0, "max_iter": 20}
    features, labels = training(1)
    classifier = MLPClassifier(hidden_layer_sizes=(7, 5), **settings).fit(features.astype(np.float64), labels)
    content = exported.document(NAMES, CLASSES, exported.network(classifier, NAMES, CLASSES))
    assert_classified(classifier, content, CLASSES, 1e-12)
    _, targets = numbers()
    regressor = MLPRegressor(hidden_layer_sizes=(6,), **settings).fit(features.astype(np.float64), targets)
    content = exported.document(NAMES, [], exported.network(regressor, NAMES, []))
    np.testing.assert_allclose(scored(content, inputs())["y"], regressor.predict(ROWS), rtol=1e-11, atol=1e-12)


def test_k_means() -> None:
    from sklearn.cluster import KMeans

    model = KMeans(5, n_init=1, random_state=0).fit(training(1)[0].astype(np.float64))
    content = exported.document(NAMES, [], exported.clusters(model, NAMES))
    assert scored(content, inputs())["prediction"] == [str(one) for one in model.predict(ROWS)]


def test_naive_bayes() -> None:
    from sklearn.naive_bayes import GaussianNB

    features, labels = training(1)
    model = GaussianNB().fit(features.astype(np.float64), labels)
    content = exported.document(NAMES, CLASSES, exported.bayes(model, NAMES, CLASSES))
    assert_classified(model, content, CLASSES, 1e-11)
