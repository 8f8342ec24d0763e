"""Integrated gradients of real SavedModels, against closed forms and against permutations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.artifacts.archive import zip_folder
from models.artifacts.digest import digest_of_bytes, digest_of_path
from models.artifacts.local_opener import LocalOpener
from models.errors import GradientsError
from models.explaining.attribution import Attributions
from models.explaining.explainer import Explainer, ExplainerSettings
from models.loading.loader import LoadedModel, ModelLoader
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.published import PublishedVersion
from models.records.record_type import RecordType
from tests.models.fakes import columns_of, schema_of
from tests.saved_models import (
    save_linear_model,
    save_polynomial_model,
    save_stairs_model,
    save_string_model,
    save_tf1_model,
    save_wine_model,
)

AB = schema_of(a="double", b="double")
BOTH = {"v": ("a", "b")}
TYPE = "tensorflow-saved-model"


class Models:
    """The content of inline models, by offset, and a loader of SavedModels."""

    def __init__(self) -> None:
        self.contents: dict[int, bytes] = {}
        self.fetched: list[int] = []

    def fetch(self, offset: int) -> bytes:
        self.fetched.append(offset)
        return self.contents[offset]

    def inline(self, model: Path, offset: int = 10, **described: Any) -> PublishedVersion:
        content = zip_folder(model)
        self.contents[offset] = content
        descriptor = ModelDescriptor("m", TYPE, 1, digest=digest_of_bytes(content), **described)
        return PublishedVersion(descriptor, offset, True)

    @contextmanager
    def loaded(self, version: PublishedVersion, kind: RecordType = AB) -> Iterator[LoadedModel]:
        loader = ModelLoader(LocalOpener(), self.fetch, [kind.codec])
        with closing(loader.load(version)) as model:
            yield model

    def explainer(self, **settings: Any) -> Explainer:
        return Explainer(LocalOpener(), self.fetch, ExplainerSettings(**{"seed": 0, **settings}))

    def explained(
        self,
        version: PublishedVersion,
        row: dict[str, Any],
        others: list[dict[str, Any]] | None = None,
        kind: RecordType = AB,
        **settings: Any,
    ) -> Attributions:
        background = columns_of(kind, others) if others else None
        with self.loaded(version, kind) as model, closing(self.explainer(**settings)) as explainer:
            return explainer.explain(model, kind.codec, columns_of(kind, [row]), background)


@pytest.fixture
def models() -> Models:
    return Models()


def shares(found: Attributions) -> list[float]:
    return [one.attribution for one in found.inputs]


def test_a_linear_model_has_exact_contributions(models: Models, tmp_path: Path) -> None:
    version = models.inline(save_linear_model(tmp_path / "m", [2.0, -3.0], 5.0), inputs=BOTH)
    found = models.explained(version, {"a": 3.0, "b": 4.0}, [{"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 2.0}])
    assert found.method == "integrated-gradients"
    assert shares(found) == pytest.approx([2.0 * 2.5, -3.0 * 3.0], rel=1e-5)
    assert [found.base, found.prediction] == pytest.approx([3.0, -1.0])
    assert found.background == 2
    assert [(one.name, one.value) for one in found.inputs] == [("a", 3.0), ("b", 4.0)]


def test_a_polynomial_has_the_contributions_of_the_closed_form(models: Models, tmp_path: Path) -> None:
    # The integral of (2a + b, a) along the line from 0 to (a, b) is (a^2 + ab / 2, ab / 2).
    version = models.inline(save_polynomial_model(tmp_path / "m"), inputs=BOTH)
    found = models.explained(version, {"a": 3.0, "b": 4.0})
    assert shares(found) == pytest.approx([15.0, 6.0], rel=1e-5)
    assert found.complete


def test_gradients_and_permutations_agree_where_both_are_exact(models: Models, tmp_path: Path) -> None:
    version = models.inline(save_polynomial_model(tmp_path / "m"), inputs=BOTH)
    for row in ({"a": -2.0, "b": 0.5}, {"a": 1.0, "b": 7.0}):
        one, other = (models.explained(version, row, method=name) for name in ("auto", "permutation"))
        assert {one.method, other.method} == {"integrated-gradients", "permutation"}
        assert shares(one) == pytest.approx(shares(other), rel=1e-4)


def test_the_contributions_to_a_class_of_a_network_add_up(models: Models, tmp_path: Path) -> None:
    wine = RecordType.named("wine")
    fields = tuple(name for name in wine.codec.fields.names if name != "lot_id")
    version = models.inline(save_wine_model(tmp_path / "m"), inputs={"inputs": fields}, signature="predict")
    row = {"lot_id": "x", **{name: float(place) / 4 for place, name in enumerate(fields)}}
    found = models.explained(version, row, kind=wine)
    assert found.method == "integrated-gradients"
    assert [one.name for one in found.inputs] == list(fields)
    assert len(found.explained.component) == 1
    assert found.base == pytest.approx(1 / 9)
    assert abs(found.unexplained) < 0.01 * abs(found.prediction - found.base)


def test_a_model_of_tensorflow_1_has_gradients(models: Models, tmp_path: Path) -> None:
    model = save_tf1_model(tmp_path / "m", {"serve": 2.0, "serve,fast": 3.0})
    version = models.inline(model, inputs={"x": ("a",)}, options={"tags": "serve,fast"})
    found = models.explained(version, {"a": 5.0, "b": 0.0})
    assert found.method == "integrated-gradients"
    assert shares(found) == pytest.approx([15.0])


@pytest.mark.parametrize("save", [save_stairs_model, save_string_model])
def test_a_model_without_useful_gradients_is_explained_by_permutations(
    models: Models, tmp_path: Path, save: Callable[[Path], Path]
) -> None:
    kind, text = schema_of(x="double", text="string"), save is save_string_model
    version = models.inline(save(tmp_path / "m"))
    found = models.explained(version, {"x": 3.7, "text": "wine"}, kind=kind, output="length" if text else "floor")
    assert found.method == "permutation"
    assert shares(found) == pytest.approx([4.0 if text else 3.0])


def test_gradients_that_were_asked_for_and_do_not_exist_are_an_error(models: Models, tmp_path: Path) -> None:
    version = models.inline(save_string_model(tmp_path / "m"))
    with pytest.raises(GradientsError, match="no input holds floating-point numbers"):
        models.explained(
            version, {"text": "a"}, kind=schema_of(text="string"), output="length", method="integrated-gradients"
        )


def test_a_model_is_opened_once_and_its_files_are_deleted(models: Models, tmp_path: Path) -> None:
    version = models.inline(save_linear_model(tmp_path / "m", [1.0, 1.0]), inputs=BOTH)
    with models.loaded(version) as model:
        models.fetched.clear()
        with closing(models.explainer()) as explainer:
            for number in range(3):
                explainer.explain(model, AB.codec, columns_of(AB, [{"a": float(number), "b": 1.0}]))
        assert models.fetched == [version.offset]


def test_a_location_that_has_changed_since_is_not_used(models: Models, tmp_path: Path) -> None:
    folder = save_linear_model(tmp_path / "m", [2.0, 3.0])
    descriptor = ModelDescriptor(
        "m", TYPE, 1, model_source_location=str(folder), digest=digest_of_path(folder), inputs=BOTH
    )
    version = PublishedVersion(descriptor, 10, False)
    with models.loaded(version) as model, closing(models.explainer()) as explainer:
        (folder / "saved_model.pb").write_bytes(b"another model")
        found = explainer.explain(model, AB.codec, columns_of(AB, [{"a": 1.0, "b": 1.0}]))
    assert found.method == "permutation"
    assert shares(found) == pytest.approx([2.0, 3.0])


def test_the_gradients_are_those_of_the_model_that_scores(models: Models, tmp_path: Path) -> None:
    """The numbers come from the session, the gradients from the copy: both must be the same function."""
    version = models.inline(
        save_wine_model(tmp_path / "m"), inputs={"inputs": tuple("abcdefghijk")}, signature="predict"
    )
    kind = schema_of("avro", **dict.fromkeys("abcdefghijk", "float"))
    random = np.random.default_rng(3)
    for values in random.normal(size=(3, 11)):
        found = models.explained(version, dict(zip("abcdefghijk", map(float, values), strict=True)), kind=kind)
        assert found.method == "integrated-gradients" and found.complete
