"""Behaviour specific to TensorFlow Lite; the contract covers the rest. The tests' own interpreters are the oracle."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.artifacts.local_opener import LocalOpener
from models.errors import ModelLoadError, ScorerOptionError, ScoringError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers.base import ModelSource, Scorer
from models.scorers.tensorflow.lite import load
from models.scorers.tensorflow.quantization import Quantization
from models.tensors import Array, TensorSpec
from tests.models.scorers.contract import assert_close
from tests.models.scorers.keras_models import classifier, converted, quantized
from tests.models.scorers.learned import FEATURES, rows_of

ROWS = 1_000
FLOAT32 = np.dtype(np.float32)


def opened(content: bytes, **fields: Any) -> Scorer:
    return load(ModelSource(ModelDescriptor("m", "tensorflow-lite", 3, **fields), content, LocalOpener()))


def interpreted(content: bytes, values: Array) -> Array:
    """The outputs of an interpreter that is driven by hand, tensor by tensor."""
    interpreter = tf.lite.Interpreter(model_content=content, num_threads=1)
    (taken,), (given_back,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(taken["index"], values.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(taken["index"], values)
    interpreter.invoke()
    found: Array = interpreter.get_tensor(given_back["index"])
    return found


def from_function(function: Callable[..., Any], *specs: Any, select: bool = False) -> bytes:
    concrete = tf.function(function, input_signature=specs).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module())
    if select:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    return bytes(converter.convert())


def x_of(*shape: int | None, kind: Any = tf.float32) -> Any:
    return tf.TensorSpec(shape, kind, name="x")


def test_it_gives_exactly_what_the_interpreter_gives_and_nearly_what_keras_does() -> None:
    rows = rows_of(ROWS)
    content = converted(classifier(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # operators cannot act on TensorFlow's announcement
        scorer = opened(content)
        found = scorer.score({"v": rows}).outputs["output_0"]
    np.testing.assert_array_equal(found, interpreted(content, rows))
    assert_close(found, classifier(1)(rows).numpy(), 1e-5)
    assert scorer.signature.name == "serving_default"
    assert scorer.signature.inputs == {"v": TensorSpec("v", FLOAT32, (None, FEATURES))}
    assert scorer.signature.outputs == {"output_0": TensorSpec("output_0", FLOAT32, (None, 3))}


@pytest.mark.parametrize("kind", [tf.int8, tf.uint8], ids=lambda kind: str(kind.name))
def test_a_quantized_model_takes_and_gives_real_numbers_or_if_asked_its_integers(kind: Any) -> None:
    content = quantized(classifier(1), kind)
    rows = rows_of(ROWS)
    interpreter = tf.lite.Interpreter(model_content=content)
    (taken,), (given_back,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero = taken["quantization"]
    limits: Any = np.iinfo(kind.as_numpy_dtype)
    integers = np.clip(np.round(rows.astype(np.float64) / scale) + zero, limits.min, limits.max).astype(limits.dtype)
    answers = interpreted(content, integers)

    raw = opened(content, options={"quantized": "raw"})
    assert raw.signature.inputs["v"].dtype == raw.signature.outputs["output_0"].dtype == limits.dtype
    np.testing.assert_array_equal(raw.score({"v": integers}).outputs["output_0"], answers)
    real = opened(content)
    assert real.signature.inputs["v"].dtype == real.signature.outputs["output_0"].dtype == FLOAT32
    found = real.score({"v": rows}).outputs["output_0"]
    scale, zero = given_back["quantization"]
    assert_close(found, (answers.astype(np.float64) - zero) * scale, 1e-6)
    assert np.abs(found - classifier(1)(rows).numpy()).mean() < 0.02


@given(st.floats(width=32), st.integers(-128, 127), st.floats(1e-6, 1e6))
def test_integers_are_the_nearest_in_range(value: float, zero: int, scale: float) -> None:
    quantization = Quantization(scale, zero, np.dtype(np.int8))
    (found,) = quantization.integers(np.array([value], np.float32)).tolist()
    if np.isnan(value):
        assert found == zero
    else:
        wanted = min(max(np.float64(np.float32(value)) / scale + zero, -128), 127)
        assert abs(found - wanted) <= 0.5


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: from_function(lambda x: x + 1.0, x_of(1, 4)), r"\[1, 4\], whose first dimension is fixed"),
        (
            lambda: from_function(tf.io.read_file, x_of(kind=tf.string), select=True),
            "CUSTOM FlexReadFile, which is",
        ),
        (lambda: from_function(lambda x: x + tf.random.uniform([1]), x_of(None), select=True), "operation .*andom"),
        (lambda: from_function(tf.identity, x_of(None, kind=tf.string)), "only numbers and booleans are served"),
    ],
    ids=["fixed rows", "not built in", "random", "texts"],
)
def test_what_cannot_be_served_is_refused_with_the_reason(content: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(ModelLoadError, match=f"(?i)^model 'm' version 3: .*{reason}"):
        opened(content())


def test_names_and_options_that_the_model_lacks_are_refused() -> None:
    content = converted(classifier(1))
    with pytest.raises(ModelLoadError, match="no signature 'predict'; it has: serving_default"):
        opened(content, signature="predict")
    with pytest.raises(ModelLoadError, match="no output 'p'; it has: output_0"):
        opened(content, outputs={"a": "p"})
    with pytest.raises(ScorerOptionError, match="quantized='float' is neither 'real' nor 'raw'"):
        opened(content, options={"quantized": "float"})


def changed(change: Callable[[Any], None]) -> bytes:
    """The classifier, after a change of its last tensor."""
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(converted(classifier(1))))
    change(model.subgraphs[0].tensors[-1])
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def test_a_bomb_is_refused_before_it_takes_memory() -> None:
    content = changed(lambda tensor: setattr(tensor, "shape", [2**20, 2**20]))
    with pytest.raises(ModelLoadError, match=r"the tensors of the model would take 4398\d+ bytes, more than"):
        opened(content)


def test_a_model_that_remembers_is_refused() -> None:
    content = changed(lambda tensor: setattr(tensor, "isVariable", True))
    with pytest.raises(ModelLoadError, match=r"tensor '\S+' keeps state from call to call"):
        opened(content)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_model_is_refused_or_scores_or_fails_but_does_nothing_else(damages: list[tuple[int, int]]) -> None:
    content = bytearray(converted(classifier(1)))
    for place, byte in damages:
        content[place % len(content)] = byte
    try:
        opened(bytes(content)).score({"v": rows_of(3)})
    except (ModelLoadError, ScoringError) as error:
        assert "\n" not in str(error)
