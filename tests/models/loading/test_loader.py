from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models.loading.loader
from models.artifacts.archive import zip_folder
from models.artifacts.digest import digest_of_bytes, digest_of_path
from models.artifacts.local_opener import LocalOpener
from models.columns.outputs import RecordOutputs
from models.errors import (
    AdmissionError,
    DigestMismatchError,
    FieldValueError,
    MappingError,
    ModelLoadError,
    ScoringError,
    UnknownModelTypeError,
)
from models.loading.loader import LoadedModel, ModelLoader, warm_up
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.published import PublishedVersion
from models.records.record_type import RecordType
from models.scorers.base import ModelSource, Scores
from models.tensors import Array, Signature, TensorSpec, sample_inputs
from tests.models.fakes import FakeScorer, columns_of, fake_model, published, schema_of
from tests.saved_models import save_failing_model, save_recommender, save_string_model, save_version_model

SAVED_MODEL = "tensorflow-saved-model"
RECOMMENDER = RecordType.named("recommender")


@pytest.fixture(scope="module")
def recommender(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_recommender(tmp_path_factory.mktemp("models") / "recommender")


@pytest.fixture(scope="module")
def recommender_zip(recommender: Path) -> bytes:
    return zip_folder(recommender)


def located(path: Path, **fields: Any) -> PublishedVersion:
    descriptor = ModelDescriptor(
        "recommender",
        SAVED_MODEL,
        3,
        model_source_location=str(path),
        **{"inputs": {"users": ("user",)}, **fields},
    )
    return PublishedVersion(descriptor, 42, inline=False)


def inline(digest: str | None = None, **fields: Any) -> PublishedVersion:
    descriptor = ModelDescriptor("recommender", SAVED_MODEL, 3, inputs={"users": ("user",)}, digest=digest, **fields)
    return PublishedVersion(descriptor, 42, inline=True)


def no_bytes(offset: int) -> bytes:
    raise AssertionError("no inline model was published")


def loader(schema: RecordType = RECOMMENDER, fetch: Callable[[int], bytes] = no_bytes) -> ModelLoader:
    return ModelLoader(LocalOpener(), fetch, [schema.codec])


def score(
    model: LoadedModel, rows: Sequence[Mapping[str, Any]], schema: RecordType = RECOMMENDER
) -> tuple[RecordOutputs, int | None]:
    return model.score(schema.codec, columns_of(schema, rows))


ROWS = [
    {"user": 1, "products": [1000, 2000], "dataType": "d"},
    {"user": 5, "products": [], "dataType": "d"},
    {"user": 7, "products": [3000], "dataType": "d"},
]


def test_a_model_from_a_location_scores_and_has_an_identity(recommender: Path) -> None:
    model = loader().load(located(recommender))
    outputs, answered = score(model, ROWS)
    found = [outputs.of(index)["predictions"].tolist() for index in range(3)]
    assert found == [[[2.0], [3.0]], [], [[10.0]]]
    assert answered is None
    identity = model.identity(answered)
    assert (identity.name, identity.version, identity.descriptor_offset) == ("recommender", 3, 42)
    assert (identity.location, identity.digest) == (str(recommender), digest_of_path(recommender))
    model.close()


def test_a_model_from_the_stream_is_fetched_by_its_offset(recommender_zip: bytes) -> None:
    offsets: list[int] = []

    def fetch(offset: int) -> bytes:
        offsets.append(offset)
        return recommender_zip

    digest = digest_of_bytes(recommender_zip)
    model = loader(fetch=fetch).load(inline(digest))
    assert offsets == [42]
    assert score(model, ROWS[:1])[0].of(0)["predictions"].shape == (2, 1)
    assert model.identity(None).digest == digest
    model.close()


def test_records_of_which_none_has_a_row_do_not_ask_the_model(recommender: Path) -> None:
    model = loader().load(located(recommender))
    outputs, _ = score(model, [ROWS[1], ROWS[1]])
    model.close()
    for index in (0, 1):
        assert outputs.of(index)["predictions"].shape == (0, 1)
        assert outputs.of(index)["predictions"].dtype == np.float32


def test_bytes_that_differ_from_the_published_ones_are_rejected(recommender_zip: bytes, recommender: Path) -> None:
    with pytest.raises(DigestMismatchError, match=digest_of_bytes(recommender_zip)):
        loader(fetch=lambda offset: recommender_zip).load(inline("0" * 64))
    with pytest.raises(DigestMismatchError, match="0" * 64):
        loader().load(located(recommender, digest="0" * 64))


def test_bytes_that_are_not_a_model_are_rejected() -> None:
    with pytest.raises(ModelLoadError, match="zip file cannot be read"):
        loader(fetch=lambda offset: b"no zip file").load(inline())


def test_the_error_for_an_unknown_model_type_names_the_known_ones() -> None:
    with pytest.raises(UnknownModelTypeError, match=SAVED_MODEL):
        loader().load(published(1))


def test_a_model_whose_inputs_cannot_be_filled_is_rejected_and_closed(recommender: Path) -> None:
    with pytest.raises(MappingError, match="--input users="):
        loader().load(located(recommender, inputs={}))


def test_a_model_with_an_output_by_another_name(recommender: Path) -> None:
    model = loader().load(located(recommender, outputs={"score": "predictions"}))
    assert set(score(model, ROWS)[0].of(0)) == {"score"}
    model.close()


def test_a_model_that_fails_for_some_records_reports_the_reason(tmp_path: Path) -> None:
    path = save_failing_model(tmp_path / "failing")
    schema = schema_of(x="double")
    model = loader(schema).load(located(path, inputs={}))
    assert score(model, [{"x": 4.0}], schema)[0].of(0)["root"] == 2.0
    with pytest.raises(ScoringError, match="x is below 0"):
        score(model, [{"x": 4.0}, {"x": -1.0}], schema)
    model.close()


def test_a_value_that_does_not_fit_is_named(tmp_path: Path) -> None:
    path = save_string_model(tmp_path / "texts")
    schema = schema_of(text=["null", "string"])
    model = loader(schema).load(located(path, inputs={}))
    outputs, _ = score(model, [{"text": "é\0"}, {"text": "é"}], schema)
    assert outputs.of(0)["length"] == 3
    assert outputs.of(1)["upper"].tolist() == "É".encode()
    with pytest.raises(FieldValueError, match="'text'"):
        score(model, [{"text": None}], schema)
    model.close()


# --- Warming up.


class Spy(FakeScorer):
    """Records its requests; fails with `error`."""

    def __init__(self, signature: Signature, error: Exception | None = None) -> None:
        super().__init__(1)
        self.signature = signature
        self.error = error
        self.asked: list[dict[str, Array]] = []

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        self.asked.append(dict(inputs))
        if self.error is not None:
            raise self.error
        return super().score({"x": np.zeros(1)})


X = Signature("s", {"x": TensorSpec("x", np.dtype(np.float32), (None,))})


def load_spy(monkeypatch: pytest.MonkeyPatch, spy: Spy, **options: str) -> LoadedModel:
    sources: list[ModelSource] = []

    def load_scorer(source: ModelSource) -> Spy:
        sources.append(source)
        return spy

    monkeypatch.setattr(models.loading.loader, "load_scorer", load_scorer)
    descriptor = ModelDescriptor("m", "spy", 1, model_source_location="there", options=options)
    model = loader(schema_of(x="float")).load(PublishedVersion(descriptor, 0, inline=False))
    assert "warmup" not in sources[0].descriptor.options
    return model


def test_a_model_is_asked_once_before_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(X)
    load_spy(monkeypatch, spy)
    assert [list(inputs["x"]) for inputs in spy.asked] == [[0.0]]
    assert not spy.closed.is_set()


def test_a_model_that_does_not_answer_is_rejected_with_the_remedy_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(X, ScoringError("no such table"))
    with pytest.raises(ModelLoadError, match=r"no such table \(option warmup=false"):
        load_spy(monkeypatch, spy)
    assert spy.closed.is_set()


def test_a_model_is_closed_when_its_warm_up_fails_in_an_unforeseen_way(monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(X, RuntimeError("never thought of"))
    with pytest.raises(RuntimeError):
        load_spy(monkeypatch, spy)
    assert spy.closed.is_set()


def test_a_model_is_closed_when_its_inputs_cannot_be_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(Signature("s", {"y": TensorSpec("y", np.dtype(np.float32), (None,))}))
    with pytest.raises(MappingError):
        load_spy(monkeypatch, spy)
    assert spy.closed.is_set()


def test_a_model_that_cannot_be_closed_does_not_hide_why_it_was_rejected(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError("cannot be closed")

    spy = Spy(X, ScoringError("no such table"))
    spy._on_close = fail
    with pytest.raises(ModelLoadError, match="no such table"):
        load_spy(monkeypatch, spy)
    assert spy.closed.is_set()
    assert "cannot be closed" in caplog.text


def test_a_model_that_is_not_admitted_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(X)
    with pytest.raises(AdmissionError, match="max-load-seconds"):
        load_spy(monkeypatch, spy, **{"max-load-seconds": "0.000000001"})
    assert spy.closed.is_set()


def test_an_option_skips_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(X, ScoringError("no such table"))
    load_spy(monkeypatch, spy, warmup="false")
    assert spy.asked == []


def test_a_sample_has_one_row_of_each_inputs_shape_and_dtype() -> None:
    specs = {
        "scalar": TensorSpec("scalar", np.dtype(np.int64), (None,)),
        "column": TensorSpec("column", np.dtype(np.float64), (None, 1)),
        "vector": TensorSpec("vector", np.dtype(np.bool_), (None, 3)),
        "any": TensorSpec("any", np.dtype(np.uint8), (None, None, 2)),
        "unknown": TensorSpec("unknown", np.dtype(np.float32), None),
        "text": TensorSpec("text", np.dtype(object), (None,)),
    }
    sample = sample_inputs(Signature("s", specs))
    shapes = {"scalar": (1,), "column": (1, 1), "vector": (1, 3), "any": (1, 1, 2), "unknown": (1,), "text": (1,)}
    assert {name: array.shape for name, array in sample.items()} == shapes
    assert all(sample[name].dtype == spec.dtype for name, spec in specs.items())
    assert sample["text"].tolist() == [b""]


def test_a_real_model_warms_up(tmp_path: Path) -> None:
    path = save_version_model(tmp_path / "model", 5, column=True)
    schema = schema_of(x="float")
    model = loader(schema).load(located(path, inputs={}))
    warm_up(model.scorer)
    assert score(model, [{"x": 1.0}], schema)[0].of(0)["version"] == 5
    model.close()


# --- Content of results.


def test_a_remote_model_is_known_by_the_version_that_its_server_named() -> None:
    scorer = FakeScorer(4)
    scorer.digest = None
    model = fake_model(published(4), scorer)
    assert model.identity(9).version == 9
    assert model.identity(None).version is None
    assert model.identity(9).digest is None
    assert model.identity(9).location == "fake:4"


def test_a_model_that_cannot_be_closed_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("stuck")

    fake_model(published(4), FakeScorer(4, fail)).close()
    assert "m/4 could not be closed" in caplog.text
