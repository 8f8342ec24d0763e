"""Behaviour specific to Keras files; the contract covers the rest. Keras saves them, and is the oracle."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import psutil
import pytest

from models.artifacts.local_opener import LocalOpener
from models.errors import ModelLoadError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers.base import ModelSource, Scorer
from models.scorers.tensorflow.keras import load
from tests.models.scorers.contract import assert_close
from tests.models.scorers.keras_models import classifier
from tests.models.scorers.learned import FEATURES, rows_of

ROWS = 1_000
layers = keras.layers


def opened(content: bytes, **fields: Any) -> Scorer:
    return load(ModelSource(ModelDescriptor("m", "keras", 3, **fields), content, LocalOpener()))


def saved(model: Any, folder: Path) -> bytes:
    path = folder / "saved.keras"
    model.save(path)
    return path.read_bytes()


def changed(content: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The same file after a change of its configuration."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(target, "w") as after:
        for name in before.namelist():
            part = before.read(name)
            if name == "config.json":
                config = json.loads(part)
                change(config)
                part = json.dumps(config).encode()
            after.writestr(name, part)
    return target.getvalue()


def two_of_each(as_dicts: bool) -> Any:
    a, b = keras.Input((FEATURES,), name="a"), keras.Input((2,), name="b")
    hidden = keras.ops.add(layers.Concatenate()([layers.Dense(3, activation="relu")(a), b]), 1.0)
    first, second = layers.Dense(2, name="first")(hidden), layers.Dense(1, name="second")(hidden)
    if as_dicts:
        return keras.Model({"a": a, "b": b}, {"x": first, "y": second})
    return keras.Model([a, b], [first, second])


@pytest.mark.parametrize(("as_dicts", "names"), [(True, ("x", "y")), (False, ("first", "second"))])
def test_several_inputs_and_outputs(tmp_path: Path, as_dicts: bool, names: tuple[str, str]) -> None:
    model = two_of_each(as_dicts)
    model.compile("adam", "mse")
    scorer = opened(saved(model, tmp_path))
    inputs = {"a": rows_of(ROWS), "b": rows_of(ROWS)[:, :2]}
    found = scorer.score(inputs).outputs
    predicted = model.predict(inputs if as_dicts else [inputs["a"], inputs["b"]], verbose=0)
    expected = predicted if as_dicts else dict(zip(names, predicted, strict=True))
    assert found.keys() == set(names) == scorer.signature.outputs.keys()
    for name in names:
        assert_close(found[name], expected[name], 1e-5)
    selected = opened(saved(model, tmp_path), outputs={"one": names[0]})
    assert selected.score(inputs).outputs.keys() == {names[0]}


def test_a_vocabulary_is_in_the_file(tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((1,), dtype="string", name="word"), layers.StringLookup(vocabulary=["a", "b"])]
    )
    scorer = opened(saved(model, tmp_path))
    (found,) = scorer.score({"word": np.array([[b"b"], [b"z"]], object)}).outputs.values()
    assert found.tolist() == [[2], [0]]


def lambda_layer() -> Any:
    return keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: x + 1, name="adds")])


def own_layer() -> Any:
    class Doubling(keras.Layer):
        def call(self, x: Any) -> Any:
            return x * 2

    return keras.Sequential([keras.Input((3,)), Doubling(name="doubles")])


def stateful() -> Any:
    return keras.Sequential([keras.Input((3, 1), batch_size=4), layers.GRU(2, stateful=True, name="remembers")])


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda_layer, "layer 'adds' is a Lambda, which contains code"),
        (own_layer, "layer 'doubles' needs the class 'Doubling' of .*but only layers of Keras are served"),
        (stateful, "layer 'remembers' keeps state"),
        (
            lambda: keras.Sequential([keras.Input((3,), batch_size=4), layers.Dense(1)]),
            r"\[4, 3\], whose first dimension",
        ),
        (lambda: keras.Sequential([layers.Dense(1)]), "it must know its inputs"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(tmp_path: Path, build: Callable[[], Any], reason: str) -> None:
    content = saved(build(), tmp_path)
    with pytest.raises(ModelLoadError, match=f"^model 'm' version 3: .*{reason}"):
        opened(content)


def hide_in(config: dict[str, Any], part: Any) -> None:
    config["config"]["layers"][1]["config"]["activation"] = part


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"class_name": "__lambda__", "config": {"value": "x"}}, "'hidden' is a __lambda__"),
        ({"class_name": "system", "module": "os", "config": {}}, "'hidden' needs the class 'system' of 'os'"),
        ({"class_name": "keras_evil", "module": "kerasevil.layers", "config": {}}, "of 'kerasevil.layers'"),
        ({"class_name": "TFSMLayer", "module": "keras.layers", "config": {"filepath": "/x"}}, "is a TFSMLayer"),
        (
            {"class_name": "function", "module": "builtins", "config": "eval", "registered_name": "eval"},
            "Keras cannot load it",
        ),
        ({"class_name": "get_file", "module": "keras.utils", "config": {}}, "'get_file' of 'keras.utils'"),
    ],
)
def test_code_that_is_hidden_in_a_layer_is_refused(tmp_path: Path, part: Any, reason: str) -> None:
    content = changed(saved(classifier(1), tmp_path), lambda config: hide_in(config, part))
    with pytest.raises(ModelLoadError, match=f"^model 'm' version 3: .*{reason}"):
        opened(content)


def test_a_bomb_is_refused_by_what_it_would_unpack_to(tmp_path: Path) -> None:
    target = io.BytesIO(saved(classifier(1), tmp_path))
    with (
        zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("assets/zeros", "w") as file,
    ):
        for _ in range(1_030):
            file.write(bytes(2**20))
    with pytest.raises(
        ModelLoadError, match=r"the zip file contains \d+ bytes, more than the 1073741824 that are allowed"
    ):
        opened(target.getvalue())


def test_a_zip_file_without_a_model_is_refused() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("notes.txt", "notes")
    with pytest.raises(ModelLoadError, match=r"not a \.keras file: .*config\.json"):
        opened(target.getvalue())


def test_closing_frees_the_memory_before_the_garbage_collector_does(tmp_path: Path) -> None:
    content = saved(keras.Sequential([keras.Input((1_000,), name="v"), layers.Dense(10_000)]), tmp_path)

    def resident() -> int:
        for _ in range(5):
            opened(content).close()
        return int(psutil.Process().memory_info().rss)

    before = resident()
    assert (resident() - before) / 2**20 < 60  # of 190 that were loaded
