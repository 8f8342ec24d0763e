from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from models.artifacts.archive import zip_folder
from models.artifacts.local_opener import LocalOpener
from models.errors import ModelLoadError, ScoringError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers.base import ModelSource, Scorer
from models.scorers.onnx import load, one_line
from models.tensors import Array, TensorSpec
from tests.models.scorers import onnx_graphs
from tests.models.scorers.contract import assert_close
from tests.models.scorers.learned import FEATURES, forest, rows_of, training

ROWS = 2_000
FLOAT32 = np.dtype(np.float32)


def inline(content: bytes, **fields: Any) -> Scorer:
    return load(ModelSource(ModelDescriptor("m", "onnx", 3, **fields), content, LocalOpener()))


def located(path: Path, **fields: Any) -> Scorer:
    descriptor = ModelDescriptor("m", "onnx", 3, model_source_location=str(path), **fields)
    return load(ModelSource(descriptor, None, LocalOpener()))


def exported(model: Any, sample: Array | None = None, **options: Any) -> bytes:
    from skl2onnx import to_onnx

    given = {id(model): options} if options else None
    content: bytes = to_onnx(model, rows_of(1) if sample is None else sample, options=given).SerializeToString()
    return content


@cache
def exported_forest() -> bytes:
    return exported(forest(1), zipmap=False)


def texts_of(*values: bytes) -> Array:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def boosted() -> Any:
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(n_estimators=8, random_state=1).fit(*training(1))


def logistic() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression()).fit(*training(1))


def perceptron() -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((8,), max_iter=30, random_state=1).fit(*training(1))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("build", [boosted, logistic, perceptron])
def test_a_classifier_of_scikit_learn_gives_the_same_classes_and_probabilities(build: Callable[[], Any]) -> None:
    model = build()
    scorer = inline(exported(model, zipmap=False))
    rows = rows_of(ROWS)
    outputs = scorer.score({"X": rows}).outputs
    assert_close(outputs["probabilities"], model.predict_proba(rows), 1e-5)
    # Where two classes are equally probable within the precision of float32, either may win.
    apart = np.diff(np.sort(model.predict_proba(rows), axis=1)[:, -2:], axis=1)[:, 0] > 1e-5
    assert apart.mean() > 0.99
    np.testing.assert_array_equal(outputs["label"][apart], model.predict(rows)[apart])


def test_a_regression_in_double_precision_is_exact_to_the_last_digits() -> None:
    from sklearn.linear_model import LinearRegression

    features, classes = training(1)
    wide = features.astype(np.float64)
    model = LinearRegression().fit(wide, classes)
    scorer = inline(exported(model, wide[:1]))
    assert scorer.signature.inputs["X"].dtype == np.float64
    rows = rows_of(ROWS).astype(np.float64)
    outputs = scorer.score({"X": rows}).outputs
    assert_close(outputs["variable"].ravel(), model.predict(rows), 1e-12)


def test_a_network_of_tensorflow_gives_the_same_numbers() -> None:
    import tensorflow as tf
    import tf2onnx

    weights = np.random.default_rng(1).normal(size=(FEATURES, 5)).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec([None, FEATURES], tf.float32, "features")])
    def network(features: Any) -> Any:
        hidden = tf.nn.relu(tf.matmul(features, tf.constant(weights)))
        return {"scores": tf.nn.softmax(hidden), "best": tf.argmax(hidden, axis=1)}

    content = tf2onnx.convert.from_function(network, input_signature=network.input_signature)[0].SerializeToString()
    scorer = inline(content)
    rows = rows_of(ROWS)
    expected = {name: tensor.numpy() for name, tensor in network(tf.constant(rows)).items()}
    outputs = scorer.score({"features": rows}).outputs
    by_dtype = {array.dtype: array for array in outputs.values()}
    assert_close(by_dtype[FLOAT32], expected["scores"], 1e-6)
    np.testing.assert_array_equal(by_dtype[np.dtype(np.int64)], expected["best"])


def test_classes_that_are_texts_come_as_bytes() -> None:
    from sklearn.linear_model import LogisticRegression

    features, classes = training(1)
    model = LogisticRegression().fit(features, np.array(["rouge", "rosé", "blanc"])[classes])
    scorer = inline(exported(model, zipmap=False))
    rows = rows_of(ROWS)
    labels = scorer.score({"X": rows}).outputs["label"]
    assert [label.decode() for label in labels] == model.predict(rows).tolist()
    assert b"ros\xc3\xa9" in set(labels)


def test_the_signature_is_that_of_the_graph() -> None:
    signature = inline(exported_forest()).signature
    assert signature.inputs == {"X": TensorSpec("X", FLOAT32, (None, FEATURES))}
    assert signature.outputs == {
        "label": TensorSpec("label", np.dtype(np.int64), (None,)),
        "probabilities": TensorSpec("probabilities", FLOAT32, (None, 3)),
    }
    assert inline(onnx_graphs.identity(TensorProto.FLOAT, ["rows", "width", 2])).signature.inputs["a"].shape == (
        None,
        None,
        2,
    )
    assert inline(onnx_graphs.identity(TensorProto.FLOAT, None)).signature.inputs["a"].shape is None


def test_a_signature_may_be_named_if_it_is_the_graphs() -> None:
    content = onnx_graphs.identity(TensorProto.FLOAT, name="main")
    assert inline(content, signature="main").signature.name == "main"
    with pytest.raises(ModelLoadError, match="no signature 'serving_default'; its only graph is 'main'"):
        inline(content, signature="serving_default")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (TensorProto.FLOAT, np.array([1.5, -np.inf, np.nan], np.float32)),
        (TensorProto.DOUBLE, np.array([1e300, 0.1], np.float64)),
        (TensorProto.FLOAT16, np.array([0.5, 65504], np.float16)),
        (TensorProto.INT8, np.array([-128, 127], np.int8)),
        (TensorProto.INT16, np.array([-(2**15)], np.int16)),
        (TensorProto.INT32, np.array([-(2**31)], np.int32)),
        (TensorProto.INT64, np.array([-(2**63), 2**63 - 1], np.int64)),
        (TensorProto.UINT8, np.array([255], np.uint8)),
        (TensorProto.UINT16, np.array([2**16 - 1], np.uint16)),
        (TensorProto.UINT32, np.array([2**32 - 1], np.uint32)),
        (TensorProto.UINT64, np.array([2**63 - 1], np.uint64)),
        (TensorProto.BOOL, np.array([True, False])),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, np.ndarray) else None,
)
def test_every_type_of_numbers_passes_unchanged(kind: int, values: Array) -> None:
    scorer = inline(onnx_graphs.identity(kind))
    assert scorer.signature.inputs["a"].dtype == scorer.signature.outputs["b"].dtype == values.dtype
    found = scorer.score({"a": values}).outputs["b"]
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=20))
def test_texts_pass_unchanged(texts: list[str]) -> None:
    scorer = inline(onnx_graphs.identity(TensorProto.STRING))
    values = texts_of(*(text.encode() for text in texts))
    assert scorer.score({"a": values}).outputs["b"].tolist() == values.tolist()


def test_a_text_that_is_not_utf_8_is_an_error_that_names_the_input() -> None:
    scorer = inline(onnx_graphs.identity(TensorProto.STRING))
    with pytest.raises(ScoringError, match="input 'a' holds a text that is not UTF-8"):
        scorer.score({"a": texts_of(b"good", b"\xff")})


def test_a_dictionary_per_row_is_refused_unless_it_is_left_out() -> None:
    content = exported(forest(1))
    with pytest.raises(ModelLoadError, match=r"'output_probability' is a seq\(map\(.*zipmap=False"):
        inline(content)
    scorer = inline(content, outputs={"class": "output_label"})
    assert scorer.score({"X": rows_of(3)}).outputs.keys() == {"output_label"}
    assert scorer.signature.outputs.keys() == {"output_label"}


def test_only_the_outputs_that_are_selected_are_computed() -> None:
    scorer = inline(exported_forest(), outputs={"p": "probabilities"})
    assert scorer.score({"X": rows_of(3)}).outputs.keys() == {"probabilities"}
    with pytest.raises(ModelLoadError, match="has no output 'q'; it has: label, probabilities"):
        inline(exported_forest(), outputs={"p": "q"})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (onnx_graphs.identity(TensorProto.FLOAT, [1, 4]), "input 'a' takes 1 rows and no other number; .*dynamic axis"),
        (onnx_graphs.identity(TensorProto.COMPLEX64), "complex64"),
        (onnx_graphs.identity(TensorProto.BFLOAT16), r"'a' is a tensor\(bfloat16\), not a tensor of numbers"),
        (onnx_graphs.constant(), "the model has no inputs"),
        (onnx_graphs.unknown_operator(), "evil.example"),
    ],
    ids=["fixed rows", "complex", "bfloat16", "no inputs", "unknown operator"],
)
def test_what_cannot_be_served_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(ModelLoadError, match=f"(?i)^model 'm' version 3: .*{reason}"):
        inline(content)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_model_is_refused_or_scores_or_fails_but_does_nothing_else(damages: list[tuple[int, int]]) -> None:
    content = bytearray(exported_forest())
    for place, byte in damages:
        content[place % len(content)] = byte
    try:
        scorer = inline(bytes(content))
        scorer.score({name: rows_of(3) for name in scorer.signature.inputs})
    except (ModelLoadError, ScoringError) as error:
        assert "\n" not in str(error)


def test_an_output_without_rows_is_an_error_of_the_call() -> None:
    with pytest.raises(ScoringError, match=r"'b' has shape \[\], but 3 rows went in"):
        inline(onnx_graphs.mean()).score({"a": np.zeros(3, np.float32)})


def test_weights_in_a_file_beside_the_model_are_found_in_a_folder_and_in_a_zip_file(tmp_path: Path) -> None:
    onnx_graphs.write(tmp_path / "model" / "add.onnx", onnx_graphs.with_weights_at("weights.bin"))
    onnx_graphs.write(tmp_path / "model" / "weights.bin", np.arange(4, dtype=np.float32).tobytes())
    for scorer in (located(tmp_path / "model"), inline(zip_folder(tmp_path / "model")), inline(zip_folder(tmp_path))):
        assert scorer.score({"a": np.ones((1, 4), np.float32)}).outputs["b"].tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize("absolute", [True, False])
def test_a_model_cannot_read_a_file_of_the_worker(tmp_path: Path, absolute: bool) -> None:
    secret = onnx_graphs.write(tmp_path / "secret.bin", bytes(16))
    place = str(secret) if absolute else f"../../../../../../../../..{secret}"
    onnx_graphs.write(tmp_path / "model" / "add.onnx", onnx_graphs.with_weights_at(place))
    with pytest.raises(ModelLoadError, match=r"External data path"):
        located(tmp_path / "model")


def test_a_folder_must_have_one_model(tmp_path: Path) -> None:
    content = onnx_graphs.identity(TensorProto.FLOAT)
    onnx_graphs.write(tmp_path / "two" / "one.onnx", content)
    onnx_graphs.write(tmp_path / "two" / "two.onnx", content)
    with pytest.raises(ModelLoadError, match=r"one file \*\.onnx.*found: one\.onnx, two\.onnx"):
        located(tmp_path / "two")
    onnx_graphs.write(tmp_path / "none" / "notes.txt", b"")
    with pytest.raises(ModelLoadError, match=r"found: notes\.txt"):
        located(tmp_path / "none")


def test_sessions_start_no_threads() -> None:
    scorer = inline(exported_forest())
    scorer.score({"X": rows_of(ROWS)})
    before = psutil.Process().num_threads()
    scorers = [inline(exported_forest()) for _ in range(4)]
    for scorer in scorers:
        scorer.score({"X": rows_of(ROWS)})
    assert psutil.Process().num_threads() <= before


def test_closing_frees_the_memory(tmp_path: Path) -> None:
    onnx_graphs.write(tmp_path / "model" / "add.onnx", onnx_graphs.with_weights_at("weights.bin"))
    onnx_graphs.write(tmp_path / "model" / "weights.bin", bytes(16))

    def resident() -> int:
        for _ in range(30):
            scorer = located(tmp_path / "model")
            scorer.score({"a": np.zeros((100_000, 4), np.float32)})
            scorer.close()
        return int(psutil.Process().memory_info().rss)

    before = resident()
    assert (resident() - before) / 2**20 < 20


def test_one_line() -> None:
    assert one_line(ValueError("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : bad\n index: 1")) == "bad index: 1"
    assert one_line(ValueError("")) == "ValueError"
    assert len(one_line(ValueError("x" * 9_000))) == 500
