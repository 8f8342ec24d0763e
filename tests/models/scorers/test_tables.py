"""Behaviour specific to scikit-learn, XGBoost and LightGBM; test_contract.py covers what all scorers share."""

from __future__ import annotations

import atexit
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import skops.io
import xgboost
from sklearn.cluster import KMeans
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from models.artifacts.archive import EXPANSION_FLOOR, zip_folder
from models.artifacts.local_opener import LocalOpener
from models.errors import ModelLoadError, ScoringError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers import load_scorer
from models.scorers.base import ModelSource, Scorer
from models.tensors import TensorSpec
from tests.models.scorers.learned import (
    FEATURES,
    boosted_by_lightgbm,
    boosted_by_xgboost,
    forest,
    rows_of,
    training,
)

ROWS = 2_000
NAMES = [f"measured_{number}" for number in range(FEATURES)]
WIDE = rows_of(ROWS).astype(np.float64)


def inline(model_type: str, content: bytes, warm_up: bool = True, **fields: Any) -> Scorer:
    return load_scorer(ModelSource(ModelDescriptor("m", model_type, 3, **fields), content, LocalOpener(), warm_up))


def skops_of(estimator: Any) -> bytes:
    content: bytes = skops.io.dumps(estimator)
    return content


@cache
def xgboost_of(objective: str, rounds: int = 8, named: bool = False, kind: str = "ubj") -> tuple[Any, bytes]:
    features, classes = training(1)
    target = classes if objective == "multi:softprob" else classes > 0
    data = xgboost.DMatrix(features, label=target, feature_names=NAMES if named else None)
    settings = {"objective": objective, "max_depth": 3, "nthread": 1}
    if objective == "multi:softprob":
        settings["num_class"] = 3
    booster = xgboost.train(settings, data, rounds)
    return booster, bytes(booster.save_raw(kind))


atexit.register(xgboost_of.cache_clear)  # as for the boosters of `learned`


@cache
def lightgbm_of(objective: str, names: str = "auto") -> tuple[Any, bytes]:
    features, classes = training(1)
    target = classes if objective == "multiclass" else classes > 0
    settings: dict[str, Any] = {"objective": objective, "verbosity": -1, "num_threads": 1, "num_leaves": 7}
    if objective == "multiclass":
        settings["num_class"] = 3
    data = lightgbm.Dataset(features, label=target, feature_name=NAMES if names == "named" else "auto")
    booster = lightgbm.train(settings, data, 8)
    return booster, booster.model_to_string().encode()


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        HistGradientBoostingClassifier(max_iter=8),
        KNeighborsClassifier(3),
        make_pipeline(StandardScaler(), ExtraTreesClassifier(5, max_depth=3)),
        BaggingClassifier(n_estimators=3),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_classifiers_of_scikit_learn_give_exactly_what_they_give_there(estimator: Any) -> None:
    estimator.fit(*training(1))
    outputs = inline("sklearn", skops_of(estimator)).score({"X": WIDE}).outputs
    np.testing.assert_array_equal(outputs["prediction"], estimator.predict(WIDE))
    np.testing.assert_array_equal(outputs["probabilities"], estimator.predict_proba(WIDE))


@pytest.mark.parametrize("estimator", [LinearRegression(), KMeans(3, n_init=1, random_state=1)])
def test_what_has_no_probabilities_gives_predictions_only(estimator: Any) -> None:
    estimator.fit(training(1)[0].astype(np.float64), training(1)[1])
    outputs = inline("sklearn", skops_of(estimator)).score({"X": WIDE}).outputs
    assert outputs.keys() == {"prediction"}
    np.testing.assert_array_equal(outputs["prediction"], estimator.predict(WIDE))


def test_classes_that_are_texts_come_as_bytes() -> None:
    features, classes = training(1)
    estimator = LogisticRegression().fit(features, np.array(["rouge", "rosé", "blanc"])[classes])
    outputs = inline("sklearn", skops_of(estimator)).score({"X": WIDE}).outputs
    assert [text.decode() for text in outputs["prediction"]] == estimator.predict(WIDE).tolist()


def test_a_model_that_knows_the_names_of_its_features_has_an_input_for_each() -> None:
    import pandas as pd

    features, classes = training(1)
    estimator = LogisticRegression().fit(pd.DataFrame(features, columns=NAMES), classes)
    scorer = inline("sklearn", skops_of(estimator))
    assert scorer.signature.inputs[NAMES[0]] == TensorSpec(NAMES[0], np.dtype(np.float64), (None,))
    columns = {name: WIDE[:, place] for place, name in enumerate(NAMES)}
    shuffled = {name: columns[name] for name in sorted(NAMES, reverse=True)}
    outputs = scorer.score(shuffled).outputs
    expected = estimator.predict_proba(pd.DataFrame(WIDE, columns=NAMES))
    np.testing.assert_array_equal(outputs["probabilities"], expected)
    with pytest.raises(ScoringError, match=r"'measured_3' has shape \[2, 2\], but \[2\] is expected"):
        scorer.score({**{name: array[:2] for name, array in columns.items()}, "measured_3": np.zeros((2, 2))})


def test_an_estimator_with_threads_of_its_own_uses_one() -> None:
    estimator = RandomForestClassifier(5, n_jobs=-1, random_state=1).fit(*training(1))
    scorer = inline("sklearn", skops_of(make_pipeline(estimator)))
    assert scorer._predict.args[0].steps[0][1].n_jobs == 1  # type: ignore[attr-defined]


def double(values: Any) -> Any:
    return values * 2


def test_a_model_that_names_other_types_is_refused() -> None:
    estimator = make_pipeline(FunctionTransformer(double), LogisticRegression()).fit(*training(1))
    with pytest.raises(ModelLoadError, match=r"types that are not trusted: .*double"):
        inline("sklearn", skops_of(estimator))


def test_a_bomb_is_refused_before_skops_unpacks_it() -> None:
    content = bytearray(skops_of(LogisticRegression().fit(*training(1))))
    entry = content.index(b"PK\x01\x02") + 24  # where the directory says how large the first member becomes
    content[entry : entry + 4] = (EXPANSION_FLOOR + 1).to_bytes(4, "little")
    with pytest.raises(ModelLoadError, match=r"more than the \d+ that are allowed"):
        inline("sklearn", bytes(content))


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [(StandardScaler(), "a StandardScaler has no method predict"), (LinearRegression(), "fit it first")],
)
def test_what_cannot_predict_is_refused(estimator: Any, reason: str) -> None:
    if isinstance(estimator, StandardScaler):
        estimator.fit(training(1)[0])
    with pytest.raises(ModelLoadError, match=reason):
        inline("sklearn", skops_of(estimator))


def test_a_folder_may_have_other_files_beside_the_model(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("about the model")
    (tmp_path / "model.skops").write_bytes(skops_of(forest(1)))
    scorer = inline("sklearn", zip_folder(tmp_path))
    np.testing.assert_array_equal(scorer.score({"X": WIDE}).outputs["prediction"], forest(1).predict(WIDE))


@pytest.mark.parametrize("kind", ["ubj", "json"])
@pytest.mark.parametrize("objective", ["reg:squarederror", "binary:logistic", "multi:softprob", "rank:pairwise"])
def test_xgboost_gives_exactly_what_it_gives_itself(objective: str, kind: str) -> None:
    booster, content = xgboost_of(objective, kind=kind)
    expected = booster.inplace_predict(rows_of(ROWS))
    outputs = inline("xgboost", content).score({"X": rows_of(ROWS)}).outputs
    if objective == "binary:logistic":
        np.testing.assert_array_equal(outputs["probabilities"][:, 1], expected)
        np.testing.assert_array_equal(outputs["prediction"], expected > 0.5)
    elif objective == "multi:softprob":
        np.testing.assert_array_equal(outputs["probabilities"], expected)
    else:
        np.testing.assert_array_equal(outputs["prediction"], expected)
        assert outputs.keys() == {"prediction"}


def test_xgboost_uses_the_iterations_up_to_the_best_one() -> None:
    features, classes = training(1)
    model = xgboost.XGBClassifier(n_estimators=60, learning_rate=0.9, early_stopping_rounds=3, n_jobs=1)
    model.fit(features[:200], classes[:200], eval_set=[(features[200:], classes[200:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    outputs = inline("xgboost", bytes(model.get_booster().save_raw("ubj"))).score({"X": rows_of(ROWS)}).outputs
    np.testing.assert_array_equal(outputs["probabilities"], model.predict_proba(rows_of(ROWS)))


@pytest.mark.parametrize("objective", ["regression", "binary", "multiclass"])
def test_lightgbm_gives_exactly_what_it_gives_itself(objective: str) -> None:
    booster, content = lightgbm_of(objective)
    expected = booster.predict(WIDE)
    outputs = inline("lightgbm", content).score({"X": WIDE}).outputs
    if objective == "binary":
        np.testing.assert_array_equal(outputs["probabilities"][:, 1], expected)
        np.testing.assert_array_equal(outputs["prediction"], expected > 0.5)
    else:
        np.testing.assert_array_equal(outputs["prediction" if objective == "regression" else "probabilities"], expected)


@pytest.mark.parametrize(
    ("model_type", "content"),
    [
        ("xgboost", lambda: xgboost_of("reg:squarederror", named=True)[1]),
        ("lightgbm", lambda: lightgbm_of("regression", "named")[1]),
    ],
)
def test_boosted_trees_know_the_names_of_their_features(model_type: str, content: Callable[[], bytes]) -> None:
    assert list(inline(model_type, content()).signature.inputs) == NAMES


@pytest.mark.parametrize(
    ("model_type", "train", "content"),
    [
        ("xgboost", boosted_by_xgboost, lambda model: bytes(model.get_booster().save_raw("ubj"))),
        ("lightgbm", boosted_by_lightgbm, lambda model: model.booster_.model_to_string().encode()),
    ],
)
def test_a_missing_value_is_one_for_boosted_trees(model_type: str, train: Any, content: Any) -> None:
    model = train(1)
    rows = np.where(np.random.default_rng(3).random((ROWS, FEATURES)) < 0.3, np.nan, rows_of(ROWS))
    scorer = inline(model_type, content(model))
    rows = rows.astype(scorer.signature.inputs["X"].dtype)
    outputs = scorer.score({"X": rows}).outputs
    np.testing.assert_array_equal(outputs["probabilities"], model.predict_proba(rows))


@pytest.mark.parametrize(
    ("settings", "categorical"),
    [
        ({"linear_tree": True}, "auto"),
        ({"max_cat_to_onehot": 2, "min_data_per_group": 2, "cat_smooth": 1}, [0]),
        ({"min_data_in_leaf": 10_000}, "auto"),
    ],
    ids=["linear trees", "categories", "trees of one leaf"],
)
def test_every_form_of_a_tree_of_lightgbm_is_read(settings: dict[str, Any], categorical: Any) -> None:
    features, classes = training(1)
    features = np.column_stack([np.arange(len(features)) % 40, features[:, 1:]])
    data = lightgbm.Dataset(features, label=classes + features[:, 0] % 3, categorical_feature=categorical)
    booster = lightgbm.train({"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 3, **settings}, data, 8)
    outputs = inline("lightgbm", booster.model_to_string().encode()).score({"X": features}).outputs
    np.testing.assert_array_equal(outputs["prediction"], booster.predict(features))


@pytest.mark.parametrize(
    ("written", "replaced", "reason"),
    [
        (r"num_leaves=", "num_leaves=99", "tree 0: leaf_value has 7 values, but 997 are expected"),
        (r"left_child=\S+", "left_child=0", "tree 0: left_child leads back to an earlier node"),
        (r"right_child=\S+", "right_child=99", "tree 0: right_child has a value outside of -7 to 5"),
        (r"split_feature=\S+", "split_feature=99", "tree 0: split_feature has a value outside of 0 to"),
        (r"decision_type=\S+", "decision_type=1", "tree 0: threshold has a value outside of 0 to -1"),
        (r"threshold=.*\n", "", "tree 0: threshold is missing"),
        (r"leaf_value=", "leaf_value=x", "tree 0: could not convert"),
        (r"num_class=1", "num_class=1000", "8 trees, 1 in each iteration, 1000 classes"),
    ],
)
def test_lightgbm_never_sees_trees_that_contradict_themselves(written: str, replaced: str, reason: str) -> None:
    text = re.sub(written, replaced, lightgbm_of("regression")[1].decode(), count=1)
    with pytest.raises(ModelLoadError, match=reason):
        inline("lightgbm", text.encode())


def test_a_tree_of_lightgbm_in_the_wrong_place_does_not_end_the_process() -> None:
    text = lightgbm_of("regression")[1].decode().replace("tree_sizes=", "tree_sizes=9")
    outputs = inline("lightgbm", text.encode()).score({"X": WIDE}).outputs  # the sizes are not needed
    np.testing.assert_array_equal(outputs["prediction"], lightgbm_of("regression")[0].predict(WIDE))


@pytest.mark.parametrize("cut", range(1, 20))
@pytest.mark.parametrize("kind", ["ubj", "json"])
def test_xgboost_never_sees_a_model_that_is_cut_off(kind: str, cut: int) -> None:
    content = xgboost_of("binary:logistic", kind=kind)[1]
    with pytest.raises(ModelLoadError, match=r"cut off|not JSON|no learner"):
        inline("xgboost", content[: len(content) * cut // 20])


@pytest.mark.parametrize("content", [b"{}", b'{"a": 1}', b"[1]", b'"text"', b"{U\x01aU\x01}", b"{", b"{U"])
def test_json_that_is_no_model_of_xgboost_is_refused(content: bytes) -> None:
    with pytest.raises(ModelLoadError):
        inline("xgboost", content)


def test_categorical_features_are_refused() -> None:
    features, classes = training(1)
    kinds = ["c", *["float"] * (FEATURES - 1)]
    numbered = np.abs(features).round()
    data = xgboost.DMatrix(numbered, label=classes, feature_types=kinds, enable_categorical=True)
    booster = xgboost.train({"nthread": 1, "max_depth": 2}, data, 2)
    with pytest.raises(ModelLoadError, match="categorical features"):
        inline("xgboost", bytes(booster.save_raw("ubj")))


def test_without_a_warm_up_the_outputs_are_unknown_and_the_answers_the_same() -> None:
    _, content = xgboost_of("binary:logistic")
    scorer = inline("xgboost", content, warm_up=False)
    assert scorer.signature.outputs == {}
    warmed = inline("xgboost", content)
    assert warmed.signature.outputs["probabilities"] == TensorSpec("probabilities", np.dtype(np.float32), (None, 2))
    for name, values in warmed.score({"X": rows_of(5)}).outputs.items():
        np.testing.assert_array_equal(scorer.score({"X": rows_of(5)}).outputs[name], values)


def test_only_the_outputs_that_are_selected_are_returned() -> None:
    _, content = xgboost_of("binary:logistic")
    scorer = inline("xgboost", content, outputs={"p": "probabilities"})
    assert scorer.score({"X": rows_of(5)}).outputs.keys() == {"probabilities"}
    assert scorer.signature.outputs.keys() == {"probabilities"}
    with pytest.raises(ModelLoadError, match="no output 'q'; it has: prediction, probabilities"):
        inline("xgboost", content, outputs={"p": "q"})
    with pytest.raises(ModelLoadError, match="no signature 'serve'; its only one is 'predict'"):
        inline("xgboost", content, signature="serve")
