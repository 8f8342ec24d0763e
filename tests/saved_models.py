"""Builders of tiny real SavedModels, which all tests use.

Each writes a SavedModel into `folder` and returns it. They build with TensorFlow itself: import this module only
in tests that need it (it takes seconds).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf

FLOATS_PER_MEGABYTE = 1024 * 1024 // 4


def sleep(seconds: float) -> Any:
    """A tensor that is 0 (int64), and known only after `seconds`; it works in graphs and survives saving.

    It uses a data set whose kernel sleeps before each element, and once more before the end: hence half each time.
    """
    sleeping = tf.raw_ops.SleepDataset(
        input_dataset=tf.data.experimental.to_variant(tf.data.Dataset.range(1)),
        sleep_microseconds=tf.constant(round(seconds * 1e6 / 2), tf.int64),
        output_types=[tf.int64],
        output_shapes=[tf.TensorShape([])],
    )
    elements = tf.data.experimental.from_variant(sleeping, tf.TensorSpec([], tf.int64))
    return elements.reduce(tf.constant(0, tf.int64), lambda total, element: total + element)


def save_version_model(
    folder: Path,
    version: int,
    delay: float = 0.0,
    size_mb: int = 0,
    load_delay: float = 0.0,
    column: bool = False,
) -> Path:
    """A model whose output is its version: `x` float32 [None] -> `version` int64 [None].

    Args:
      folder: the folder to which it is written.
      version: the output for each row.
      delay: seconds that each call takes (it sleeps, so it uses no core).
      size_mb: megabytes of random weights, which cannot be compressed.
      load_delay: seconds that loading takes.
      column: `x` is [None, 1] instead.
    """
    module = tf.Module()
    module.version = tf.Variable(version, dtype=tf.int64)
    module.weights = tf.Variable(tf.random.normal([max(1, size_mb * FLOATS_PER_MEGABYTE)]))
    module.table = _slow_table(load_delay)

    def answer(x: Any) -> dict[str, Any]:
        number = module.version + tf.cast(0.0 * module.weights[0], tf.int64)
        if load_delay:
            number += module.table.lookup(tf.constant(0, tf.int64))
        if delay:
            number += sleep(delay)
        return {"version": tf.fill(tf.shape(x)[:1], number)}

    return _save(module, folder, answer, {"x": tf.TensorSpec([None, 1] if column else [None], tf.float32)})


def save_recommender(folder: Path) -> Path:
    """`users`, `products` float32 [None, 1] -> `predictions` float32 [None, 1]: users + products / 1000."""
    module = tf.Module()
    module.scale = tf.Variable(0.001)

    def recommend(users: Any, products: Any) -> dict[str, Any]:
        return {"predictions": users + products * module.scale}

    column = tf.TensorSpec([None, 1], tf.float32)
    return _save(module, folder, recommend, {"users": column, "products": column})


def save_linear_model(folder: Path, weights: list[float], bias: float = 0.0) -> Path:
    """`v` float32 [None, n] -> `out` float32 [None]: the weighted sum of the values, and a bias."""
    module = tf.Module()
    module.weights, module.bias = tf.Variable(weights), tf.Variable(bias)

    def answer(v: Any) -> dict[str, Any]:
        return {"out": tf.linalg.matvec(v, module.weights) + module.bias}

    return _save(module, folder, answer, {"v": tf.TensorSpec([None, len(weights)], tf.float32)})


def save_polynomial_model(folder: Path) -> Path:
    """`v` float32 [None, 2] -> `out` float32 [None]: a * a + a * b for the values a and b."""

    def answer(v: Any) -> dict[str, Any]:
        return {"out": v[:, 0] * v[:, 0] + v[:, 0] * v[:, 1]}

    return _save(tf.Module(), folder, answer, {"v": tf.TensorSpec([None, 2], tf.float32)})


def save_stairs_model(folder: Path) -> Path:
    """`x` float32 [None] -> `floor` float32 [None]: the largest whole number up to x, whose gradient is 0."""

    def floor(x: Any) -> dict[str, Any]:
        return {"floor": tf.floor(x)}

    return _save(tf.Module(), folder, floor, {"x": tf.TensorSpec([None], tf.float32)})


def save_wine_model(folder: Path) -> Path:
    """Signature `predict`: `inputs` float32 [None, 11] -> `outputs` [None, 9], of which each row sums to 1."""
    module = tf.Module()
    module.weights = tf.Variable(tf.random.stateless_normal([11, 9], seed=(1, 2)))

    def predict(inputs: Any) -> dict[str, Any]:
        return {"outputs": tf.nn.softmax(tf.matmul(inputs, module.weights))}

    return _save(module, folder, predict, {"inputs": tf.TensorSpec([None, 11], tf.float32)}, signature="predict")


def save_fraud_model(folder: Path) -> Path:
    """`transaction` float32 [None, 29] -> `predictions` [None, 29]: half of each feature."""
    module = tf.Module()
    module.scale = tf.Variable(0.5)

    def rebuild(transaction: Any) -> dict[str, Any]:
        return {"predictions": transaction * module.scale}

    return _save(module, folder, rebuild, {"transaction": tf.TensorSpec([None, 29], tf.float32)})


def save_grading_model(
    folder: Path,
    shift: float = 0.0,
    constant: bool = False,
    delay: float = 0.0,
    nan_above: float = math.inf,
    off_above: float = math.inf,
    fails_below: float = -math.inf,
    output: str = "amount",
) -> Path:
    """`x` float32 [None] -> `amount` float32 [None]: x plus a shift; `scores` float32 [None, 3]: the highest is x's.

    Args:
      folder: the folder to which it is written.
      shift: the number that is added to x.
      constant: the outputs are those for 0, whatever x is.
      delay: seconds that each call takes.
      nan_above: `amount` is NaN where x is above this.
      off_above: `amount` is 1 too high where x is above this.
      fails_below: the call fails if any x is below this.
      output: the name of the output `amount`.
    """

    def grade(x: Any) -> dict[str, Any]:
        known = (0.0 * x if constant else x) + shift
        if delay:
            known += tf.cast(sleep(delay), tf.float32)
        if math.isfinite(fails_below):
            with tf.control_dependencies([tf.debugging.assert_greater_equal(x, fails_below, message="x is too low")]):
                known = tf.identity(known)
        amount = tf.where(x > nan_above, tf.fill(tf.shape(x), math.nan), known)
        amount = tf.where(x > off_above, amount + 1.0, amount)
        return {output: amount, "scores": tf.nn.softmax(tf.stack([-known, 0.0 * known, known], axis=1))}

    return _save(tf.Module(), folder, grade, {"x": tf.TensorSpec([None], tf.float32)})


def save_logarithm_model(folder: Path) -> Path:
    """`x` float32 [None] -> `logarithm` float32 [None]: minus infinity for 0, NaN below."""

    def logarithm(x: Any) -> dict[str, Any]:
        return {"logarithm": tf.math.log(x)}

    return _save(tf.Module(), folder, logarithm, {"x": tf.TensorSpec([None], tf.float32)})


def save_failing_model(folder: Path) -> Path:
    """`x` float32 [None] -> `root` float32 [None]; fails for a batch in which any value is below 0."""

    def root(x: Any) -> dict[str, Any]:
        with tf.control_dependencies([tf.debugging.assert_non_negative(x, message="x is below 0")]):
            return {"root": tf.sqrt(x)}

    return _save(tf.Module(), folder, root, {"x": tf.TensorSpec([None], tf.float32)})


def save_constant_model(folder: Path) -> Path:
    """`x` float32 [None] -> `mean` float32 []: one output for the batch, not one for each row."""

    def mean(x: Any) -> dict[str, Any]:
        return {"mean": tf.reduce_mean(x)}

    return _save(tf.Module(), folder, mean, {"x": tf.TensorSpec([None], tf.float32)})


def save_string_model(folder: Path) -> Path:
    """`text` string [None] -> `length` int32 [None] in bytes, and `upper` string [None]."""

    def shout(text: Any) -> dict[str, Any]:
        return {"length": tf.strings.length(text), "upper": tf.strings.upper(text, encoding="utf-8")}

    return _save(tf.Module(), folder, shout, {"text": tf.TensorSpec([None], tf.string)})


def save_example_model(folder: Path, name: str = "examples") -> Path:
    """Input `name` string [None], of serialized examples with a float `amount` -> `doubled` float32 [None]."""

    def double(examples: Any) -> dict[str, Any]:
        parsed = tf.io.parse_example(examples, {"amount": tf.io.FixedLenFeature([], tf.float32)})
        return {"doubled": parsed["amount"] * 2.0}

    return _save(tf.Module(), folder, double, {name: tf.TensorSpec([None], tf.string)})


def save_vocabulary_model(folder: Path, words: list[str]) -> Path:
    """`word` string [None] -> `place` int64 [None], -1 if unknown; the words are an asset, also read at each call."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder.parent / f"{folder.name}-words.txt"
    source.write_text("\n".join(words), encoding="utf-8")
    module = tf.Module()
    module.asset = tf.saved_model.Asset(str(source))
    initializer = tf.lookup.TextFileInitializer(
        str(source), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    module.table = tf.lookup.StaticHashTable(initializer, -1)

    def place(word: Any) -> dict[str, Any]:
        size = tf.strings.length(tf.io.read_file(module.asset.asset_path))
        return {"place": module.table.lookup(word), "size": tf.fill(tf.shape(word), size)}

    saved = _save(module, folder, place, {"word": tf.TensorSpec([None], tf.string)})
    source.unlink()
    return saved


def save_two_signatures(folder: Path) -> Path:
    """Signatures `double` and `triple`, neither the default: `x` float32 [None] -> `y`."""
    module = tf.Module()
    functions = {
        name: tf.function(lambda x, factor=factor: {"y": x * factor}, input_signature=[_x_spec()])
        for name, factor in (("double", 2.0), ("triple", 3.0))
    }
    module.double, module.triple = functions["double"], functions["triple"]
    tf.saved_model.save(module, str(folder), signatures=functions)
    return folder


def save_tf1_model(folder: Path, tags: Mapping[str, float], signature: str = "scale") -> Path:
    """A model as TensorFlow 1 wrote it, with several tag sets: `x` float32 [None] -> `y`, x times the tag set's factor.

    Args:
      folder: the folder to which it is written, which must not exist.
      tags: the factor of each tag set (comma-separated). All share one set of variables, so the factors are constants.
      signature: the name of the only signature.
    """
    builder = tf.compat.v1.saved_model.Builder(str(folder))
    for place, (names, factor) in enumerate(tags.items()):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            x = tf.compat.v1.placeholder(tf.float32, [None], name="x")
            one = tf.compat.v1.get_variable("one", initializer=1.0, use_resource=False)
            entry = tf.compat.v1.saved_model.predict_signature_def({"x": x}, {"y": x * one * factor})
            session.run(tf.compat.v1.global_variables_initializer())
            if place == 0:
                builder.add_meta_graph_and_variables(session, names.split(","), {signature: entry})
            else:
                builder.add_meta_graph(names.split(","), {signature: entry})
    builder.save()
    return folder


def save_without_variables(folder: Path) -> Path:
    """A recommender whose variables are missing."""
    save_recommender(folder)
    for file in (folder / "variables").iterdir():
        file.unlink()
    return folder


def save_garbage(folder: Path) -> Path:
    """A folder whose saved_model.pb is not a SavedModel."""
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"\xff\xfe this is not a model" * 20)
    return folder


def save_nothing(folder: Path) -> Path:
    """An empty folder."""
    folder.mkdir(parents=True)
    return folder


class _SlowInitializer(tf.lookup.KeyValueTensorInitializer):
    """Fills a table with {0: 0}, slowly."""

    def __init__(self, seconds: float) -> None:
        super().__init__(tf.constant([0], tf.int64), tf.constant([0], tf.int64))
        self._seconds = seconds

    def initialize(self, table: Any) -> Any:
        # While the model is built, the table is filled eagerly; what is traced here is run when it is loaded.
        if tf.executing_eagerly():
            return super().initialize(table)
        with tf.control_dependencies([sleep(self._seconds)]):
            return super().initialize(table)


def _slow_table(seconds: float) -> Any:
    return tf.lookup.StaticHashTable(_SlowInitializer(seconds), 0) if seconds else None


def _x_spec() -> Any:
    return tf.TensorSpec([None], tf.float32, name="x")


def _save(
    module: Any,
    folder: Path,
    function: Callable[..., dict[str, Any]],
    inputs: Mapping[str, Any],
    signature: str = "serving_default",
) -> Path:
    specs = [tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in inputs.items()]
    module.call = tf.function(function, input_signature=specs)
    tf.saved_model.save(module, str(folder), signatures={signature: module.call})
    return folder
