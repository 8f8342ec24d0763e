from __future__ import annotations

import gc
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from models.artifacts.archive import zip_folder
from models.artifacts.digest import digest_of_bytes, digest_of_path
from models.artifacts.local_opener import LocalOpener
from models.errors import DigestMismatchError, ModelLoadError, ScorerOptionError, ScoringError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers import load_scorer
from models.scorers.base import ModelSource, Scorer
from models.scorers.tensorflow.saved_model import load
from models.scorers.tensorflow.session import one_line
from models.tensors import TensorSpec
from tests import saved_models

FLOAT32 = np.dtype(np.float32)


@pytest.fixture(autouse=True)
def temporary_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the scorer's temporary folders, so that a test can check which of them are left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def located(location: Path, **fields: Any) -> ModelSource:
    descriptor = ModelDescriptor("m", "tensorflow-saved-model", 3, model_source_location=str(location), **fields)
    return ModelSource(descriptor, None, LocalOpener())


def inline(content: bytes, **fields: Any) -> ModelSource:
    return ModelSource(ModelDescriptor("m", "tensorflow-saved-model", 3, **fields), content, LocalOpener())


def ones(rows: int) -> dict[str, Any]:
    return {"x": np.ones(rows, np.float32)}


def test_a_recommender_from_a_folder(tmp_path: Path) -> None:
    folder = saved_models.save_recommender(tmp_path / "model")
    scorer = load_scorer(located(folder))
    column = TensorSpec("users", FLOAT32, (None, 1))
    assert scorer.signature.name == "serving_default"
    assert scorer.signature.inputs == {"users": column, "products": replace(column, name="products")}
    assert scorer.signature.outputs == {"predictions": replace(column, name="predictions")}
    assert scorer.digest == digest_of_path(folder)
    assert scorer.address == str(folder)
    users, products = np.array([[1], [2]], np.float32), np.array([[10], [20]], np.float32)
    scores = scorer.score({"users": users, "products": products})
    assert scores.model_version is None
    assert scores.outputs["predictions"].shape == (2, 1)
    assert scores.outputs["predictions"].ravel().tolist() == pytest.approx([1.01, 2.02])


def test_bytes_and_a_zip_file_score_alike(tmp_path: Path) -> None:
    content = zip_folder(saved_models.save_version_model(tmp_path / "model", 7))
    (tmp_path / "model.zip").write_bytes(content)
    digest = digest_of_bytes(content)
    for source in (inline(content, digest=digest), located(tmp_path / "model.zip", digest=digest.upper())):
        scorer = load(source)
        assert scorer.digest == digest
        assert scorer.score(ones(2)).outputs["version"].tolist() == [7, 7]
        scorer.close()
    assert load(inline(content)).address == "inline:m/3"


@pytest.mark.parametrize("kind", ["inline", "folder", "zip"])
def test_a_wrong_digest_is_rejected_and_both_are_named(tmp_path: Path, temporary_folders: Path, kind: str) -> None:
    folder = saved_models.save_version_model(tmp_path / "model", 7)
    content = zip_folder(folder)
    (tmp_path / "model.zip").write_bytes(content)
    expected = "0" * 64
    source, actual = {
        "inline": (inline(content, digest=expected), digest_of_bytes(content)),
        "folder": (located(folder, digest=expected), digest_of_path(folder)),
        "zip": (located(tmp_path / "model.zip", digest=expected), digest_of_bytes(content)),
    }[kind]
    with pytest.raises(DigestMismatchError, match=f"model 'm' version 3.*{actual}.*{expected}"):
        load(source)
    assert list(temporary_folders.iterdir()) == []


def test_wine_has_one_signature_of_another_name(tmp_path: Path) -> None:
    scorer = load(located(saved_models.save_wine_model(tmp_path / "model")))
    assert scorer.signature.name == "predict"
    outputs = scorer.score({"inputs": np.ones((3, 11), np.float32)}).outputs["outputs"]
    assert outputs.shape == (3, 9)
    np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-5)


def test_fraud(tmp_path: Path) -> None:
    scorer = load(located(saved_models.save_fraud_model(tmp_path / "model")))
    outputs = scorer.score({"transaction": np.ones((2, 29), np.float32)}).outputs
    assert outputs["predictions"].tolist() == [[0.5] * 29] * 2


def test_strings_go_in_and_out_as_bytes(tmp_path: Path) -> None:
    scorer = load(located(saved_models.save_string_model(tmp_path / "model")))
    assert scorer.signature.inputs["text"].dtype == np.dtype(object)
    outputs = scorer.score({"text": np.array(["é".encode(), b"ab", b""], object)}).outputs
    assert outputs["length"].tolist() == [2, 2, 0]
    assert outputs["upper"].tolist() == ["É".encode(), b"AB", b""]


def test_only_the_outputs_that_are_asked_for_are_computed(tmp_path: Path) -> None:
    folder = saved_models.save_string_model(tmp_path / "model")
    scorer = load(located(folder, outputs={"size": "length"}))
    assert set(scorer.score({"text": np.array([b"a"], object)}).outputs) == {"length"}
    with pytest.raises(ModelLoadError, match="no output 'weight'; it has: length, upper"):
        load(located(folder, outputs={"size": "weight"}))


def test_no_rows_give_no_rows(tmp_path: Path) -> None:
    scorer = load(located(saved_models.save_version_model(tmp_path / "model", 1)))
    assert scorer.score(ones(0)).outputs["version"].shape == (0,)


def test_a_signature_is_chosen_by_name(tmp_path: Path) -> None:
    folder = saved_models.save_two_signatures(tmp_path / "model")
    for name, expected in (("double", 2.0), ("triple", 3.0)):
        scorer = load(located(folder, signature=name))
        assert scorer.signature.name == name
        assert [values.tolist() for values in scorer.score(ones(1)).outputs.values()] == [[expected]]
    with pytest.raises(ModelLoadError, match="it has: double, triple"):
        load(located(folder))
    with pytest.raises(ModelLoadError, match="no signature 'half'; it has: double, triple"):
        load(located(folder, signature="half"))


@pytest.mark.parametrize(
    ("tags", "asked", "factor"),
    [
        ({"gpu": 5.0, "serve": 2.0, "serve,tpu": 3.0}, None, 2.0),
        ({"gpu": 5.0, "serve": 2.0, "serve,tpu": 3.0}, " tpu , serve ", 3.0),
        ({"gpu": 5.0, "serve,tpu": 3.0}, None, 5.0),
    ],
)
def test_tag_sets_of_a_model_of_tensorflow_1(
    tmp_path: Path, tags: dict[str, float], asked: str | None, factor: float
) -> None:
    folder = saved_models.save_tf1_model(tmp_path / "model", tags)
    scorer = load(located(folder, options={} if asked is None else {"tags": asked}))
    assert scorer.signature.name == "scale"
    assert scorer.score(ones(2)).outputs["y"].tolist() == [factor, factor]


def test_options_are_checked(tmp_path: Path) -> None:
    folder = saved_models.save_tf1_model(tmp_path / "model", {"gpu": 5.0, "serve,tpu": 3.0})
    with pytest.raises(ScorerOptionError, match="'tag' is unknown; known options: tags"):
        load(located(folder, options={"tag": "serve"}))
    with pytest.raises(ScorerOptionError, match="no such tag set; it has: gpu; serve,tpu"):
        load(located(folder, options={"tags": "serve"}))


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (saved_models.save_without_variables, "TensorFlow cannot load it: .*variables/variables"),
        (saved_models.save_garbage, "saved_model.pb is not a SavedModel"),
        (saved_models.save_nothing, "found: nothing"),
        (lambda folder: folder, "does not exist"),
    ],
)
def test_broken_models_are_rejected_in_one_line(
    tmp_path: Path, temporary_folders: Path, build: Callable[[Path], Path], text: str
) -> None:
    with pytest.raises(ModelLoadError, match=f"^model 'm' version 3: .*{text}") as raised:
        load(located(build(tmp_path / "model")))
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 700
    assert list(temporary_folders.iterdir()) == []


def test_bytes_that_are_not_a_zip_file_are_rejected() -> None:
    with pytest.raises(ModelLoadError, match="zip file cannot be read"):
        load(inline(b"no zip"))
    with pytest.raises(ModelLoadError, match="neither bytes nor a location"):
        load(ModelSource(ModelDescriptor("m", "tensorflow-saved-model"), None, LocalOpener()))


def test_an_error_of_scoring_is_one_readable_line(tmp_path: Path) -> None:
    scorer = load(located(saved_models.save_failing_model(tmp_path / "model")))
    with pytest.raises(ScoringError, match=r"^assertion failed: \[x is below 0") as raised:
        scorer.score({"x": np.array([1, -4, 9], np.float32)})
    assert "\n" not in str(raised.value)
    assert scorer.score({"x": np.array([1, 9], np.float32)}).outputs["root"].tolist() == [1, 3]


def test_inputs_that_do_not_fit_the_signature_are_a_scoring_error(tmp_path: Path) -> None:
    scorer = load(located(saved_models.save_version_model(tmp_path / "model", 1)))
    with pytest.raises(ScoringError, match="shape"):
        scorer.score({"x": np.ones((2, 2), np.float32)})
    with pytest.raises(ScoringError, match="inputs are y, but the signature takes x"):
        scorer.score({"y": np.ones(2, np.float32)})
    constant = load(located(saved_models.save_constant_model(tmp_path / "constant")))
    with pytest.raises(ScoringError, match=r"'mean' has shape \[\], but 2 rows"):
        constant.score(ones(2))


def test_files_are_removed_once_the_model_is_loaded(tmp_path: Path, temporary_folders: Path) -> None:
    scorer = load(inline(zip_folder(saved_models.save_version_model(tmp_path / "model", 4))))
    assert list(temporary_folders.iterdir()) == []
    assert scorer.score(ones(1)).outputs["version"].tolist() == [4]
    scorer.close()


def test_files_of_a_model_with_assets_stay_until_it_is_closed(tmp_path: Path, temporary_folders: Path) -> None:
    scorer = load(located(saved_models.save_vocabulary_model(tmp_path / "model", ["red", "white"])))
    outputs = scorer.score({"word": np.array([b"white", b"green"], object)}).outputs
    assert outputs["place"].tolist() == [1, -1]
    assert outputs["size"].tolist() == [9, 9]
    assert len(list(temporary_folders.glob("model-*"))) == 1
    scorer.close()
    assert list(temporary_folders.glob("model-*")) == []


def test_several_threads_score_at_once(tmp_path: Path) -> None:
    scorers = [load(located(saved_models.save_version_model(tmp_path / str(version), version))) for version in range(4)]

    def versions(number: int) -> set[tuple[int, int]]:
        found = (scorers[(number + turn) % 4].score(ones(5)).outputs["version"] for turn in range(100))
        return {((number + turn) % 4, int(version)) for turn, row in enumerate(found) for version in row}

    with ThreadPoolExecutor(8) as pool:
        pairs = set().union(*pool.map(versions, range(8)))
    assert pairs == {(version, version) for version in range(4)}


def test_a_slow_model_does_not_hold_up_a_fast_one(tmp_path: Path) -> None:
    slow = load(located(saved_models.save_version_model(tmp_path / "slow", 1, delay=1.0)))
    fast = load(located(saved_models.save_version_model(tmp_path / "fast", 2)))
    fast.score(ones(1))
    thread = threading.Thread(target=slow.score, args=(ones(1),))
    start = time.perf_counter()
    thread.start()
    for _ in range(20):
        fast.score(ones(1))
    between = time.perf_counter() - start
    thread.join()
    assert time.perf_counter() - start >= 1.0
    assert between < 0.9


def test_loading_takes_as_long_as_the_model_says(tmp_path: Path) -> None:
    folder = saved_models.save_version_model(tmp_path / "model", 5, load_delay=1.5)
    start = time.perf_counter()
    scorer = load(located(folder))
    loaded = time.perf_counter()
    assert scorer.score(ones(1)).outputs["version"].tolist() == [5]
    assert loaded - start >= 1.5
    assert time.perf_counter() - loaded < 1.0


def test_closing_frees_the_memory_without_the_collector(tmp_path: Path) -> None:
    folder = saved_models.save_version_model(tmp_path / "model", 1, size_mb=50)

    def load_and_close() -> int:
        scorer: Scorer = load(located(folder))
        scorer.score(ones(1))
        scorer.close()
        return int(psutil.Process().memory_info().rss)

    gc.disable()
    try:
        before = max(load_and_close() for _ in range(3))
        after = max(load_and_close() for _ in range(30))
    finally:
        gc.enable()
    assert (after - before) / 2**20 < 50, "30 models of 50 MB left more than one of them behind"


def test_one_line() -> None:
    assert one_line(ValueError("a\n  b\tc")) == "a b c"
    assert one_line(ValueError("")) == "ValueError"
    assert one_line(ValueError("Graph execution error:\n\nbad\n\nOriginal stack trace for x:\n File")) == "bad"
    assert len(one_line(ValueError("x" * 9000))) == 500
