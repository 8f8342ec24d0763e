"""Models saved by MLflow itself: their answers match their frameworks, and models that may not be loaded are not."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from models.artifacts.archive import zip_folder
from models.artifacts.digest import digest_of_path
from models.artifacts.local_opener import LocalOpener
from models.artifacts.pickles import NO_PICKLES, AllowedPickles
from models.errors import ModelLoadError, PickleRefusedError, ScorerOptionError, ScoringError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers import load_scorer
from models.scorers.base import ModelSource, Scorer
from models.tensors import TensorSpec
from tests.models.scorers import keras_models, logged_models
from tests.models.scorers.contract import assert_close
from tests.models.scorers.learned import FEATURES, boosted_by_lightgbm, boosted_by_xgboost, forest, rows_of, training

ROWS = 1_000
NAMES = [f"measured_{number}" for number in range(FEATURES)]
SINGLE = rows_of(ROWS)
WIDE = SINGLE.astype(np.float64)
TABLE = pd.DataFrame(WIDE, columns=NAMES)
COLUMNS = {name: WIDE[:, place] for place, name in enumerate(NAMES)}
ALLOWED = AllowedPickles(names=frozenset({"m"}))


def load(path: Path, pickles: AllowedPickles = NO_PICKLES, warm_up: bool = True, **fields: Any) -> Scorer:
    descriptor = ModelDescriptor("m", "mlflow", 3, None, str(path), digest=digest_of_path(path), **fields)
    return load_scorer(ModelSource(descriptor, None, LocalOpener(), warm_up, pickles))


def change(path: Path, change_it: Callable[[Any], None]) -> Path:
    described = yaml.safe_load((path / "MLmodel").read_text())
    change_it(described)
    (path / "MLmodel").write_text(yaml.safe_dump(described))
    return path


def test_columns_fill_the_matrix_of_a_model_in_the_order_of_the_signature(tmp_path: Path) -> None:
    scorer = load(logged_models.save_sklearn(tmp_path / "m", forest(1), TABLE))
    assert list(scorer.signature.inputs) == NAMES
    assert scorer.signature.inputs[NAMES[3]] == TensorSpec(NAMES[3], np.dtype(np.float64), (None,))
    outputs = scorer.score({name: COLUMNS[name] for name in reversed(NAMES)}).outputs
    np.testing.assert_array_equal(outputs["probabilities"], forest(1).predict_proba(WIDE))
    oracle = mlflow.pyfunc.load_model(str(tmp_path / "m")).predict(TABLE)
    np.testing.assert_array_equal(outputs["prediction"], oracle)


def test_a_model_that_knows_its_names_takes_them(tmp_path: Path) -> None:
    model = LogisticRegression().fit(pd.DataFrame(training(1)[0], columns=NAMES), training(1)[1])
    scorer = load(logged_models.save_sklearn(tmp_path / "m", model, TABLE))
    np.testing.assert_array_equal(scorer.score(COLUMNS).outputs["probabilities"], model.predict_proba(TABLE))


@pytest.mark.parametrize("example", [TABLE, SINGLE, None], ids=["columns", "tensor", "no signature"])
def test_xgboost_needs_neither_mlflow_nor_permission(tmp_path: Path, example: Any) -> None:
    model = boosted_by_xgboost(1)
    scorer = load(logged_models.save(mlflow.xgboost, tmp_path / "m", model, example))
    inputs = COLUMNS if example is TABLE else {"X": SINGLE}
    assert scorer.signature.inputs.keys() == inputs.keys()
    outputs = scorer.score(inputs).outputs
    np.testing.assert_array_equal(outputs["probabilities"], model.predict_proba(SINGLE))
    np.testing.assert_array_equal(outputs["prediction"], model.predict(SINGLE))


def test_lightgbm(tmp_path: Path) -> None:
    model = boosted_by_lightgbm(1)
    scorer = load(logged_models.save(mlflow.lightgbm, tmp_path / "m", model.booster_, WIDE))
    np.testing.assert_array_equal(scorer.score({"X": WIDE}).outputs["probabilities"], model.predict_proba(WIDE))


def test_an_estimator_of_lightgbm_is_served_as_a_pickle_only(tmp_path: Path) -> None:
    model = boosted_by_lightgbm(1)
    named = logged_models.save(mlflow.lightgbm, tmp_path / "named", model, WIDE, serialization_format="skops")
    with pytest.raises(ModelLoadError, match=r"types that are not trusted: .*LGBMClassifier"):
        load(named)
    path = logged_models.save(mlflow.lightgbm, tmp_path / "m", model, WIDE, serialization_format="cloudpickle")
    with pytest.raises(PickleRefusedError):
        load(path)
    np.testing.assert_array_equal(
        load(path, ALLOWED).score({"X": WIDE}).outputs["probabilities"], model.predict_proba(WIDE)
    )


def test_onnx_gets_its_float32_from_columns_of_doubles(tmp_path: Path) -> None:
    import skl2onnx

    graph = skl2onnx.to_onnx(forest(1), SINGLE[:1], options={"zipmap": False})
    scorer = load(logged_models.save(mlflow.onnx, tmp_path / "m", graph, TABLE))
    outputs = scorer.score(COLUMNS).outputs
    np.testing.assert_array_equal(outputs["label"], forest(1).predict(SINGLE))
    assert_close(outputs["probabilities"], forest(1).predict_proba(SINGLE), 1e-6)


def test_keras(tmp_path: Path) -> None:
    model = keras_models.classifier(1)
    scorer = load(logged_models.save(mlflow.tensorflow, tmp_path / "m", model, SINGLE))
    (output,) = scorer.score({"v": SINGLE}).outputs.values()
    assert_close(output, model.predict(SINGLE, verbose=0), 1e-5)


@pytest.fixture(scope="module")
def words() -> pd.DataFrame:
    random = np.random.default_rng(5)
    return pd.DataFrame(
        {"a": random.normal(size=ROWS), "b": random.normal(size=ROWS), "word": random.choice(["ja", "né"], ROWS)}
    )


def bytes_of(table: pd.DataFrame) -> dict[str, Any]:
    return {
        **{name: table[name].to_numpy() for name in "ab"},
        "word": np.array([w.encode() for w in table["word"]], object),
    }


def test_a_function_of_python_is_called_if_it_is_allowed(tmp_path: Path, words: pd.DataFrame) -> None:
    path = logged_models.save_function(tmp_path / "m", words)
    with pytest.raises(PickleRefusedError, match=r"a python_function of MLflow.*--allow-pickle sha256:[0-9a-f]{64}"):
        load(path)
    scorer = load(path, ALLOWED)
    assert {name: spec.dtype.kind for name, spec in scorer.signature.inputs.items()} == {
        "a": "f",
        "b": "f",
        "word": "O",
    }
    outputs = scorer.score(bytes_of(words)).outputs
    np.testing.assert_array_equal(outputs["total"], words["a"] + words["b"])
    assert [text.decode() for text in outputs["shout"]] == words["word"].str.upper().tolist()
    with pytest.raises(ScoringError, match="UTF-8"):
        scorer.score({**bytes_of(words[:1]), "word": np.array([b"\xff"], object)})
    scorer.close()


def test_a_pipeline_that_selects_columns_by_name_is_served_as_a_function(tmp_path: Path, words: pd.DataFrame) -> None:
    encoder = OneHotEncoder(handle_unknown="ignore")
    steps = ColumnTransformer([("word", encoder, ["word"]), ("rest", "passthrough", ["a", "b"])])
    model = make_pipeline(steps, LogisticRegression()).fit(words, words["a"] > 0)
    path = logged_models.save(mlflow.sklearn, tmp_path / "m", model, words, serialization_format="cloudpickle")
    scorer = load(path, ALLOWED, options={"flavour": "python_function"})
    np.testing.assert_array_equal(scorer.score(bytes_of(words)).outputs["prediction"], model.predict(words))
    with pytest.raises(ModelLoadError):
        load(path, ALLOWED)


def test_a_pickle_needs_the_permission_of_the_whole_folder(tmp_path: Path) -> None:
    model = RandomForestClassifier(5, random_state=1).fit(*training(1))
    path = logged_models.save(mlflow.sklearn, tmp_path / "m", model, WIDE, serialization_format="cloudpickle")
    with pytest.raises(PickleRefusedError, match=digest_of_path(path)):
        load(path)
    inner = AllowedPickles(digests=frozenset({digest_of_path(path / "model.pkl")}))
    with pytest.raises(PickleRefusedError):
        load(path, inner)
    scorer = load(path, AllowedPickles(digests=frozenset({digest_of_path(path)})))
    np.testing.assert_array_equal(scorer.score({"X": WIDE}).outputs["prediction"], model.predict(WIDE))


def test_a_zip_file_may_have_the_folder_in_it(tmp_path: Path) -> None:
    logged_models.save_sklearn(tmp_path / "outer" / "wine", forest(1), WIDE)
    (tmp_path / "m.zip").write_bytes(zip_folder(tmp_path / "outer"))
    outputs = load(tmp_path / "m.zip").score({"X": WIDE}).outputs
    np.testing.assert_array_equal(outputs["prediction"], forest(1).predict(WIDE))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return logged_models.save_sklearn(tmp_path / "m", forest(1), WIDE)


def _with_inputs(*listed: Any) -> Callable[[Any], None]:
    return lambda described: described.update(signature={"inputs": json.dumps(listed)})


def _with_file(name: Any) -> Callable[[Any], None]:
    return lambda described: described["flavors"]["sklearn"].update(pickled_model=name)


COLUMN = {"type": "double", "name": "a"}


@pytest.mark.parametrize(
    ("change_it", "reason"),
    [
        (_with_file("../../etc/passwd"), "leads outside of the model's folder"),
        (_with_file("/etc/passwd"), "leads outside of the model's folder"),
        (_with_file("other.skops"), "'other.skops' of flavour 'sklearn' is missing"),
        (_with_file(7), "does not say where its model is"),
        (lambda described: described.update(flavors={"spark": {}}), r"none of its flavours \(spark\) is served"),
        (lambda described: described.update(flavors=[]), "flavors is not a mapping"),
        (_with_inputs(COLUMN), "a float64, but the model takes|shape"),
        (_with_inputs(COLUMN, COLUMN), "a unique name"),
        (_with_inputs({"type": "datetime", "name": "d"}), "'d' is of type 'datetime'"),
        (_with_inputs({"type": "string", "name": "s"}), "'s' of object, but the model takes 'X' of float64"),
        (_with_inputs({"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [3, 11]}}), "not of any size"),
        (_with_inputs({"type": "tensor", "tensor-spec": {"dtype": "no such", "shape": [-1]}}), "cannot be read"),
        (_with_inputs(3), "cannot be read"),
        (lambda described: described.update(signature={"inputs": "no JSON"}), "cannot be read"),
    ],
)
def test_a_file_that_contradicts_the_model_is_refused(
    saved: Path, change_it: Callable[[Any], None], reason: str
) -> None:
    with pytest.raises(ModelLoadError, match=f"^model 'm' version 3: (?!model).*(?:{reason})"):
        load(change(saved, change_it))


@pytest.mark.parametrize(
    "content", ["!!python/object/apply:os.system ['true']", "{" * 10_000, "a: [", "\x00", "- 1", " " * 1_100_000]
)
def test_yaml_that_is_no_plain_data_is_refused(saved: Path, content: str) -> None:
    (saved / "MLmodel").write_text(content)
    with pytest.raises(ModelLoadError, match="MLmodel"):
        load(saved)


def test_a_zip_file_that_leads_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("../MLmodel", "flavors: {}")
    (tmp_path / "m.zip").write_bytes(content.getvalue())
    with pytest.raises(ModelLoadError, match="leads outside"):
        load(tmp_path / "m.zip")


@pytest.mark.parametrize("name", ["spark", "xgboost"])
def test_a_flavour_that_the_model_lacks_is_refused(saved: Path, name: str) -> None:
    with pytest.raises(ScorerOptionError, match=f"has no '{name}', only python_function, sklearn"):
        load(saved, options={"flavour": name})
