"""scikit-learn models, exported as PFA, match Titus's results for the document, and scikit-learn's predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.tensors import sample_inputs
from tests.models.scorers.learned import FEATURES, rows_of
from tests.models.scorers.pfa import exported
from tests.models.scorers.pfa.evaluation import (
    array,
    assert_as_titus,
    engine,
    exchange_of,
    function,
    mapping,
    record,
    scored,
)
from tests.models.scorers.pfa.oracle import Titus

ROWS = 1_000
MATRIX = rows_of(ROWS).astype(np.float64)
TARGET = MATRIX @ np.arange(1.0, FEATURES + 1) + np.sin(3 * MATRIX[:, 0])
CLASSES = np.digitize(TARGET, np.quantile(TARGET, [0.3, 0.7]))
RECORDS = [{f"x{place}": float(value) for place, value in enumerate(row)} for row in MATRIX]
VECTORS = MATRIX.tolist()
TREE_CALL = {"model.tree.simpleTree": ["input", {"cell": "tree"}]}


def tree_document(root: dict[str, Any], leaf: Any, action: Any = TREE_CALL, kind: Any = "double") -> dict[str, Any]:
    cells = {"tree": {"type": exported.node_type(FEATURES, leaf), "init": root}}
    return engine(action, exported.input_type(FEATURES, kind), leaf, cells=cells)


def test_a_regression_tree(titus: Titus) -> None:
    from sklearn.tree import DecisionTreeRegressor

    model = DecisionTreeRegressor(max_depth=8, random_state=1).fit(MATRIX, TARGET)
    document = tree_document(exported.root(model, exported.number_leaf), "double")
    assert_as_titus(titus, document, RECORDS, tolerance=0)
    np.testing.assert_array_equal(scored(document, RECORDS)["output"], model.predict(MATRIX))


def test_a_classification_tree_with_texts_at_its_leaves(titus: Titus) -> None:
    from sklearn.tree import DecisionTreeClassifier

    model = DecisionTreeClassifier(max_depth=8, random_state=1).fit(MATRIX, CLASSES)
    document = tree_document(exported.root(model, exported.label_leaf), "string")
    assert_as_titus(titus, document, RECORDS)
    assert scored(document, RECORDS)["output"] == [exported.LABELS[one] for one in model.predict(MATRIX)]


def test_a_walk_with_a_test_of_its_own(titus: Titus) -> None:
    from sklearn.tree import DecisionTreeRegressor

    model = DecisionTreeRegressor(max_depth=6, random_state=1).fit(MATRIX, TARGET)
    test = function({"d": "Datum", "t": "TreeNode"}, "boolean", [{"model.tree.simpleTest": ["d", "t"]}])
    walk = {"model.tree.simpleWalk": ["input", {"cell": "tree"}, test]}
    assert_as_titus(titus, tree_document(exported.root(model, exported.number_leaf), "double", walk), RECORDS, 0)
    negated = {**test, "do": [{"!": {"model.tree.simpleTest": ["d", "t"]}}]}
    other = {"model.tree.simpleWalk": ["input", {"cell": "tree"}, negated]}
    assert_as_titus(titus, tree_document(exported.root(model, exported.number_leaf), "double", other), RECORDS, 0)


def test_a_walk_of_rows_with_nulls(titus: Titus) -> None:
    from sklearn.tree import DecisionTreeRegressor

    ways = ("pass", "fail", "missing")
    model = DecisionTreeRegressor(max_depth=6, random_state=1).fit(MATRIX, TARGET)
    test = function({"d": "Datum", "t": "TreeNode"}, ["boolean", "null"], [{"model.tree.missingTest": ["d", "t"]}])
    walk = {"model.tree.missingWalk": ["input", {"cell": "tree"}, test]}
    cells = {
        "tree": {
            "type": exported.node_type(FEATURES, "double", ways),
            "init": exported.root(model, exported.number_leaf, ways),
        }
    }
    document = engine(walk, exported.input_type(FEATURES, ["double", "null"]), "double", cells=cells)
    missing = np.random.default_rng(3).random(MATRIX.shape) < 0.2
    data = [
        {name: None if gone else {"double": value} for (name, value), gone in zip(one.items(), row, strict=True)}
        for one, row in zip(RECORDS, missing, strict=True)
    ]
    assert_as_titus(titus, document, data, tolerance=0)


def test_gradient_boosting(titus: Titus) -> None:
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(n_estimators=20, random_state=1).fit(MATRIX, TARGET)
    document = exported.boosted(model, FEATURES, model.learning_rate, float(model.init_.constant_.ravel()[0]))
    assert_as_titus(titus, document, RECORDS)
    np.testing.assert_allclose(scored(document, RECORDS)["output"], model.predict(MATRIX), 1e-12)


def test_a_forest(titus: Titus) -> None:
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(10, max_depth=6, random_state=1).fit(MATRIX, CLASSES)
    document = exported.forest(model, FEATURES)
    assert_as_titus(titus, document, RECORDS)
    found = scored(document, RECORDS)
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(MATRIX), 1e-12)
    assert found["label"] == [exported.LABELS[one] for one in model.predict(MATRIX)]


def regression_cell(coeff: Any, const: Any, kinds: tuple[Any, Any]) -> dict[str, Any]:
    kind = record("Regression", coeff=kinds[0], const=kinds[1])
    return {"model": {"type": kind, "init": {"coeff": coeff, "const": const}}}


def test_linear_and_logistic_regression(titus: Titus) -> None:
    linear = {"model.reg.linear": ["input", {"cell": "model"}]}
    cells = regression_cell([0.5 * place for place in range(FEATURES)], -0.3, (array("double"), "double"))
    assert_as_titus(titus, engine(linear, array("double"), cells=cells), VECTORS)
    assert_as_titus(titus, engine({"m.link.logit": [linear]}, array("double"), cells=cells), VECTORS)


def test_the_signature_has_the_length_of_an_array_that_a_model_wants() -> None:
    linear = {"model.reg.linear": ["input.features", {"cell": "model"}]}
    cells = regression_cell([0.5] * FEATURES, -0.3, (array("double"), "double"))
    inner = function({"v": array("double")}, "double", {"model.reg.linear": ["v", {"cell": "model"}]})
    for action in (linear, {"u.f": "input.features"}, [{"let": {"a": "input.features"}}, {"u.f": "a"}]):
        document = engine(action, record("Datum", features=array("double")), cells=cells, fcns={"f": inner})
        exchange = exchange_of(document)
        assert exchange.signature.inputs["features"].shape == (None, FEATURES)
        zeros = sample_inputs(exchange.signature)  # with which workers warm a model up
        assert exchange.outputs(zeros, 1)["output"].tolist() == [-0.3]


@pytest.mark.parametrize(
    "link", ["softmax", "logit", "probit", "cloglog", "loglog", "cauchit", "softplus", "relu", "tanh"]
)
def test_a_regression_of_several_classes_with_each_link(titus: Titus, link: str) -> None:
    coeff = np.random.default_rng(1).normal(size=(3, FEATURES)).tolist()
    cells = regression_cell(coeff, [0.1, 0.2, -0.3], (array(array("double")), array("double")))
    action = {f"m.link.{link}": [{"model.reg.linear": ["input", {"cell": "model"}]}]}
    assert_as_titus(titus, engine(action, array("double"), array("double"), cells=cells), VECTORS)


def test_a_regression_of_maps(titus: Titus) -> None:
    names = [f"x{place}" for place in range(FEATURES)]
    datum = {"type": mapping("double"), "new": {name: f"input.{name}" for name in names}}
    coeff = {"one": {names[0]: 1.5, "other": 3.0}, "two": dict.fromkeys(names[1:], -0.5)}
    cells = regression_cell(coeff, {"one": 0.1, "two": 0.2}, (mapping(mapping("double")), mapping("double")))
    action = {"m.link.softmax": [{"model.reg.linear": [datum, {"cell": "model"}]}]}
    document = engine(action, exported.input_type(FEATURES), mapping("double"), cells=cells)
    assert_as_titus(titus, document, RECORDS)
    assert scored(document, RECORDS).keys() == {"one", "two"}


def test_a_neural_network(titus: Titus) -> None:
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier((8, 5), "tanh", max_iter=20, random_state=1).fit(MATRIX, CLASSES)
    layers = [
        {"weights": weights.T.tolist(), "bias": bias.tolist()}
        for weights, bias in zip(model.coefs_, model.intercepts_, strict=True)
    ]
    kind = record("Layer", weights=array(array("double")), bias=array("double"))
    cells = {"layers": {"type": array(kind), "init": layers}}
    activation = function({"x": "double"}, "double", [{"m.tanh": "x"}])
    network = {"model.neural.simpleLayers": ["input", {"cell": "layers"}, activation]}
    document = engine({"m.link.softmax": network}, array("double"), array("double"), cells=cells)
    assert_as_titus(titus, document, VECTORS)
    np.testing.assert_allclose(scored(document, VECTORS)["output"], model.predict_proba(MATRIX), 1e-9)


METRICS: dict[str, Any] = {
    name: {f"metric.{name}": [{"fcn": "metric.absDiff"}, "x", "y"]}
    for name in ("euclidean", "squaredEuclidean", "chebyshev", "taxicab")
}
METRICS["minkowski"] = {"metric.minkowski": [{"fcn": "metric.absDiff"}, "x", "y", 3.0]}
METRICS["weighted"] = {
    "metric.euclidean": [
        {"fcn": "metric.absDiff"},
        "x",
        "y",
        {"type": array("double"), "value": [1.0, 2.0, *[0.5] * (FEATURES - 2)]},
    ]
}
METRICS["gaussian"] = {
    "metric.taxicab": [
        function({"a": "double", "b": "double"}, "double", {"metric.gaussianSimilarity": ["a", "b", 1.5]}), "x", "y",
    ]
}  # fmt: skip
METRICS["simpleEuclidean"] = {"metric.simpleEuclidean": ["x", "y"]}


@pytest.mark.parametrize("metric", [None, *METRICS])
def test_k_means(titus: Titus, metric: str | None) -> None:
    from sklearn.cluster import KMeans

    model = KMeans(4, n_init=1, random_state=1).fit(MATRIX)
    clusters = [{"center": center.tolist(), "id": f"c{place}"} for place, center in enumerate(model.cluster_centers_)]
    cells = {"clusters": {"type": array(record("Cluster", center=array("double"), id="string")), "init": clusters}}
    arguments: list[Any] = ["input", {"cell": "clusters"}]
    if metric is not None:
        kinds = {"x": array("double"), "y": array("double")}
        arguments.append(function(kinds, "double", METRICS[metric]))
    closest = {"model.cluster.closest": arguments}
    assert_as_titus(titus, engine(closest, array("double"), "Cluster", cells=cells), VECTORS)
    only_id = engine({"attr": closest, "path": [["id"]]}, array("double"), "string", cells=cells)
    if metric is None:
        assert scored(only_id, VECTORS)["output"] == [f"c{one}" for one in model.predict(MATRIX)]
