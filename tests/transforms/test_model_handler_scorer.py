"""Beam's own model handlers as models, with the same outputs as their `run_inference`."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from apache_beam.ml.inference.onnx_inference import OnnxModelHandlerNumpy
from apache_beam.ml.inference.sklearn_inference import SklearnModelHandlerNumpy
from apache_beam.ml.inference.xgboost_inference import XGBoostModelHandlerNumpy
from skl2onnx import to_onnx
from xgboost import XGBClassifier

from models.artifacts.archive import zip_folder
from models.artifacts.digest import digest_of_bytes
from models.artifacts.local_opener import LocalOpener
from models.artifacts.pickles import NO_PICKLES, AllowedPickles
from models.errors import EntryPointError, ModelLoadError, PickleRefusedError, ScorerOptionError, ScoringError
from models.functions import Column
from models.model_topic.descriptor import ModelDescriptor
from models.scorers import load_scorer
from models.scorers.base import ModelSource, Scorer
from models.tensors import Array
from tests.distributions import Write, distributions
from tests.models.scorers.contract import Arrays, ScorerCase, ScorerContract
from tests.models.scorers.learned import FEATURES, boosted_by_xgboost, forest, rows_of
from transforms.model_handler_scorer import ENTRY_POINT_GROUP
from transforms.model_handlers import InstalledHandler

ALLOWED = AllowedPickles.parse("m")
TOO_NARROW = np.zeros((2, FEATURES - 1), np.float32)
HEAD = """
from apache_beam.ml.inference.base import KeyedModelHandler
from apache_beam.ml.inference.onnx_inference import OnnxModelHandlerNumpy
from apache_beam.ml.inference.sklearn_inference import SklearnModelHandlerNumpy
from apache_beam.ml.inference.xgboost_inference import XGBoostModelHandlerNumpy
from xgboost import XGBClassifier
from models.functions import Column
from transforms.model_handlers import InstalledHandler

X = {"X": Column("float32", (11,))}
"""
TINY = """
from apache_beam.ml.inference.base import ModelHandler, PredictionResult
from models.functions import Column
from transforms.model_handlers import InstalledHandler

class Tiny(ModelHandler):
    def __init__(self, path):
        super().__init__()
        self.path = path

    def load_model(self):
        return open(self.path).read()

    def run_inference(self, batch, model, inference_args=None):
        return {results}

HANDLER = InstalledHandler({create}, inputs={{"x": Column("float64"), "y": Column({dtype!r})}}, batch={batch!r})
"""


@dataclass(frozen=True)
class Kind:
    """One of Beam's handlers: how it is created, the same as code, the batch that it takes, and its models."""

    create: Callable[[str], Any]
    created: str
    batch: str
    batch_of: Callable[[Array], Any]
    save: Callable[[int], bytes]
    suffix: str

    @property
    def code(self) -> str:
        return f"{HEAD}HANDLER = InstalledHandler({self.created}, inputs=X, batch={self.batch!r})\n"

    def run(self, path: Path, features: Array) -> Array:
        """The results of the handler when it is called as Beam calls it."""
        handler = self.create(str(path))
        results = list(handler.run_inference(self.batch_of(features), handler.load_model()))
        return np.asarray(results[0].inference if self.batch == "one-array" else [one.inference for one in results])


def _xgboost_bytes(number: int) -> bytes:
    return bytes(boosted_by_xgboost(number).get_booster().save_raw("json"))


def _onnx_bytes(number: int) -> bytes:
    content: bytes = to_onnx(forest(number), rows_of(1), options={"zipmap": False}).SerializeToString()
    return content


def _xgboost_handler(path: str) -> Any:
    return XGBoostModelHandlerNumpy(XGBClassifier, path)


def _pickle_bytes(number: int) -> bytes:
    return pickle.dumps(forest(number))


def _as_it_is(features: Array) -> Array:
    return features


SKLEARN = (SklearnModelHandlerNumpy, "SklearnModelHandlerNumpy")
ONNX = (OnnxModelHandlerNumpy, "OnnxModelHandlerNumpy")
XGBOOST = (_xgboost_handler, "lambda path: XGBoostModelHandlerNumpy(XGBClassifier, path)")
KINDS = {
    "sklearn-rows": Kind(*SKLEARN, "rows", list, _pickle_bytes, ".pkl"),
    "sklearn-matrix": Kind(*SKLEARN, "matrix", _as_it_is, _pickle_bytes, ".pkl"),
    "onnx": Kind(*ONNX, "matrix", list, _onnx_bytes, ".onnx"),
    "xgboost": Kind(*XGBOOST, "one-array", lambda features: [features], _xgboost_bytes, ".json"),
}


@pytest.fixture
def write(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    with distributions(tmp_path_factory.mktemp("installed"), monkeypatch) as install:
        yield install


@pytest.mark.parametrize("name", KINDS)
class TestHandlers(ScorerContract):
    @pytest.fixture
    def case(self, name: str, write: Write, tmp_path: Path) -> ScorerCase:
        kind = KINDS[name]
        write("acme-handlers", ENTRY_POINT_GROUP, "acme", kind.code, "acme_handlers:HANDLER")

        def save(path: Path, number: int) -> Path:
            target = path.with_suffix(kind.suffix)
            target.write_bytes(kind.save(number))
            return target

        def expected(number: int, inputs: Arrays) -> Arrays:
            return {"prediction": kind.run(save(tmp_path / f"expected-{number}", number), inputs["X"])}

        return ScorerCase(
            "beam-model-handler",
            save,
            lambda rows: {"X": rows_of(rows)},
            expected,
            {"X": TOO_NARROW},
            tolerance=0,
            options={"handler": "acme"},
            pickles=ALLOWED,
        )


def load(content: bytes, handler: str | None = "acme", pickles: AllowedPickles = NO_PICKLES, **options: str) -> Scorer:
    named = options if handler is None else {**options, "handler": handler}
    descriptor = ModelDescriptor("m", "beam-model-handler", 3, options=named, digest=digest_of_bytes(content))
    return load_scorer(ModelSource(descriptor, content, LocalOpener(), pickles=pickles))


def write_tiny(write: Write, results: str, create: str = "Tiny", batch: str = "rows", dtype: str = "float64") -> None:
    code = TINY.format(results=results, create=create, batch=batch, dtype=dtype)
    write("acme-tiny", ENTRY_POINT_GROUP, "acme", code, "acme_tiny:HANDLER")


def score_tiny() -> Mapping[str, Array]:
    inputs = {"y": np.array([10.0, 20.0]), "x": np.array([1.0, 2.0])}
    return load(b"model").score(inputs).outputs


@pytest.mark.parametrize("created", [SKLEARN[1], f"lambda path: KeyedModelHandler({SKLEARN[1]}(path))"])
def test_a_pickle_is_not_read_by_a_handler_unless_it_is_allowed(created: str, write: Write, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    code = f"{HEAD}HANDLER = InstalledHandler({created}, inputs=X)"
    write("acme-pickled", ENTRY_POINT_GROUP, "acme", code, "acme_pickled:HANDLER")
    with pytest.raises(PickleRefusedError, match="--allow-pickle sha256:"):
        load(pickle.dumps(Trap()))
    assert not (tmp_path / "sprung").exists()


def test_columns_become_rows_in_the_order_that_the_package_states(write: Write) -> None:
    write_tiny(write, "[PredictionResult(one, one[0] - one[1]) for one in batch]")
    assert score_tiny()["prediction"].tolist() == [-9.0, -18.0]


def test_dictionaries_go_in_and_come_out(write: Write) -> None:
    results = '[{"sum": one["x"] + len(one["y"]), "model": model} for one in batch]'
    write_tiny(write, results, batch="dicts", dtype="text")
    inputs = {"x": np.array([1.0, 2.0]), "y": np.array([b"a", b"bc"], object)}
    outputs = load(b"model").score(inputs).outputs
    assert {name: array.tolist() for name, array in outputs.items()} == {
        "sum": [2.0, 4.0],
        "model": [b"model", b"model"],
    }


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ("[1.0][:len(batch)]", "returned 1 results, but 2 are expected"),
        ('[{"a": 1}, {"b": 1}][:len(batch)]', "different names"),
        ("[None] * len(batch)", "holds a NoneType"),
        ("[1 / (2 - len(batch))]", "ZeroDivisionError"),
    ],
)
def test_what_a_handler_may_not_give_is_an_error(write: Write, results: str, reason: str) -> None:
    write_tiny(write, results)
    if "None" in results:
        with pytest.raises(ModelLoadError, match=reason):
            load(b"model")
        return
    with pytest.raises(ScoringError, match=reason):
        score_tiny()


@pytest.mark.parametrize(
    ("create", "reason"),
    [
        ("lambda path: Tiny(path).with_preprocess_fn(str)", "functions before or after it"),
        ("lambda path: Tiny(path).with_postprocess_fn(str)", "functions before or after it"),
        ("lambda path: 3", "a int was created, which is not a ModelHandler"),
        ('lambda path: Tiny(path + "x")', "cannot load it: FileNotFoundError"),
    ],
)
def test_a_handler_that_cannot_serve_is_refused(write: Write, create: str, reason: str) -> None:
    write_tiny(write, "batch", create)
    with pytest.raises(ModelLoadError, match=reason):
        load(b"model")


def test_a_name_is_needed_and_must_be_installed(write: Write) -> None:
    write_tiny(write, "batch")
    with pytest.raises(ScorerOptionError, match="option 'handler' is missing"):
        load(b"model", None)
    with pytest.raises(EntryPointError, match=r"handler 'other' is not installed; installed: acme\."):
        load(b"model", "other")
    write("acme-lost", ENTRY_POINT_GROUP, "lost", "HANDLER = 3", "acme_lost:HANDLER")
    with pytest.raises(EntryPointError, match=r"refers to a int, not to a .*InstalledHandler"):
        load(b"model", "lost")


def test_a_folder_is_unpacked_for_a_handler_that_loads_one(write: Write, tmp_path: Path) -> None:
    create = 'lambda path: Tiny(path + "/weights")'
    code = TINY.format(results="[float(model)] * len(batch)", create=create, batch="rows", dtype="float64")
    code = code.replace("batch='rows'", "folder=True")
    write("acme-folder", ENTRY_POINT_GROUP, "acme", code, "acme_folder:HANDLER")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_text("4.5")
    scorer = load(zip_folder(folder))
    assert scorer.score({name: np.zeros(2) for name in ("x", "y")}).outputs["prediction"].tolist() == [4.5, 4.5]
    with pytest.raises(ModelLoadError, match="neither a folder nor a zip file"):
        load(b"model")


@pytest.mark.parametrize(
    ("inputs", "batch", "reason"),
    [
        ({}, "rows", "needs inputs"),
        ({"x": Column("float32"), "y": Column("float64")}, "matrix", "one dtype"),
        ({"x": Column("float32"), "y": Column("float32", (2,))}, "rows", "no dimensions of their own"),
        ({"x": Column("float32")}, "frames", "batch style 'frames' is not one of rows, matrix"),
    ],
)
def test_a_package_cannot_state_what_does_not_fit(inputs: Mapping[str, Column], batch: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        InstalledHandler(SklearnModelHandlerNumpy, inputs, batch)
