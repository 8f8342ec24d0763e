"""Outliers: the scores of records, from the baseline of a published model to its results."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from beam_pipeline.publishing.baseline_file import make_baseline
from models.artifacts.local_opener import LocalOpener
from models.columns.outliers import UsualRanges
from models.loading.loader import LoadedModel, ModelLoader
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.published import PublishedVersion
from models.observing.drift.profile import FieldKey, Profile
from models.observing.drift.usual_ranges import usual_ranges
from models.records.record_type import RecordType
from models.results.decoder import ResultDecoder
from models.results.schema import result_schema
from models.routing.plan import implicit_plan
from models.serving.assembly import ScoringSettings, score_batch
from models.serving.registry import ModelRegistry
from tests.models.fakes import batch_of, schema_of
from tests.saved_models import save_linear_model

FIELDS: dict[str, Any] = {"x": "double", "y": ["null", "double"]}
INPUTS = {"v": ("x", "y")}


@pytest.fixture(scope="module")
def descriptor(tmp_path_factory: pytest.TempPathFactory) -> ModelDescriptor:
    """A real model with a baseline of 4,000 records of two normal distributions."""
    model = save_linear_model(tmp_path_factory.mktemp("model"), [1.0, 2.0])
    found = ModelDescriptor("Test", "tensorflow-saved-model", 1, model_source_location=str(model), inputs=INPUTS)
    kind, chance = schema_of(**FIELDS), np.random.default_rng(1)
    rows = [{"x": x, "y": 10 + y} for x, y in chance.standard_normal((4_000, 2)).tolist()]
    loaded = load(found, kind)
    try:
        return replace(found, baseline=make_baseline(loaded, kind.codec, rows))
    finally:
        loaded.close()


def load(descriptor: ModelDescriptor, kind: RecordType, outliers: bool = False) -> LoadedModel:
    loader = ModelLoader(LocalOpener(), lambda _: b"", [kind.codec], outliers=outliers)
    return loader.load(PublishedVersion(descriptor, 5, False))


def results(
    descriptor: ModelDescriptor, kind: RecordType, rows: list[dict[str, Any]], outliers: bool
) -> list[dict[str, Any]]:
    registry, model = ModelRegistry("worker"), load(descriptor, kind, outliers)
    registry.update({"Test": implicit_plan((model.version,))})
    registry.loaded(model.version, model)
    settings = ScoringSettings({"records": kind}, "results", "letters", outliers=outliers)
    batch = score_batch(batch_of([kind.codec.encode(row) for row in rows]), registry, settings)
    decoder = ResultDecoder(kind.codec.embedding)
    registry.close()
    return [decoder.decode(message.value or b"") for message in batch.outgoing]


ROWS: list[dict[str, Any]] = [
    {"x": 0.0, "y": 10.0},
    {"x": 2.0, "y": None},
    {"x": 0.0, "y": 25.0},
    {"x": -9.0, "y": 9.0},
]


@pytest.mark.parametrize("record_format", ["avro", "json"])
def test_results_contain_how_far_a_record_is_from_those_that_the_model_usually_gets(
    descriptor: ModelDescriptor, record_format: Any
) -> None:
    found = [one["modelResultMetadata"] for one in results(descriptor, schema_of(record_format, **FIELDS), ROWS, True)]
    assert [one["outlier"] for one in found] == [False, False, True, True]
    # From the 0.1 % to the 99.9 % quantile, a normal distribution reaches 3.09 standard deviations to either side.
    expected = [0, 2 / 3.09, 15 / 3.09, 9 / 3.09]
    assert [one["outlierScore"] for one in found] == pytest.approx(expected, rel=0.2, abs=0.2)
    assert [one["errors"] for one in found] == [None] * 4


@pytest.mark.parametrize("record_format", ["avro", "json"])
def test_a_version_without_a_baseline_has_no_scores(descriptor: ModelDescriptor, record_format: Any) -> None:
    kind = schema_of(record_format, **FIELDS)
    for without in (replace(descriptor, baseline=None), replace(descriptor, baseline=b"{}")):
        found = [one["modelResultMetadata"] for one in results(without, kind, ROWS[:1], True)]
        assert [(one["outlierScore"], one["outlier"]) for one in found] == [(None, None)]


@pytest.mark.parametrize("record_format", ["avro", "json"])
def test_without_the_option_results_are_as_before(descriptor: ModelDescriptor, record_format: Any) -> None:
    kind = schema_of(record_format, **FIELDS)
    (found,) = results(descriptor, kind, ROWS[:1], False)
    assert not {"outlierScore", "outlier"} & found["modelResultMetadata"].keys()
    names = [field["name"] for field in result_schema(kind.codec.embedding)["fields"][-1]["type"]["fields"]]
    assert names[-1] == "steps"


def test_one_record_that_cannot_be_scored_does_not_take_the_scores_of_others(descriptor: ModelDescriptor) -> None:
    rows = [{"x": float(at % 3), "y": 10.0} for at in range(50)] + [{"x": 40.0, "y": 10.0}]
    found = [one["modelResultMetadata"]["outlier"] for one in results(descriptor, schema_of(**FIELDS), rows, True)]
    assert found == [False] * 50 + [True]


def test_the_baseline_of_a_model_has_its_features_and_outputs(descriptor: ModelDescriptor) -> None:
    assert descriptor.baseline is not None
    profile = Profile.from_bytes(descriptor.baseline)
    assert profile.records == 4_000
    assert set(profile.fields) == {("feature", "x"), ("feature", "y"), ("output", "out")}
    assert all(sketch.count == 4_000 for sketch in profile.fields.values())


def test_ranges_are_those_of_features_with_numbers() -> None:
    profile = Profile()
    x, constant = FieldKey("feature", "x"), FieldKey("feature", "constant")
    values = {x: np.arange(10_001.0), constant: np.full(10_001, 7.0), FieldKey("output", "o"): np.arange(10_001.0)}
    profile.add(10_001, {**values, FieldKey("feature", "text"): ["a"] * 10_001})
    usual = usual_ranges(profile.to_bytes())
    columns = {
        "x": [5_000.0, 9_990.0, 12_500.0, float("inf")],
        "constant": [7.0] * 4,
        "o": [1e9] * 4,
        "text": ["b"] * 4,
    }
    assert usual.scores(pa.record_batch(columns)) == pytest.approx([0, 1, 1.5, 1e6], abs=0.02)
    other = usual.scores(pa.record_batch({"x": pa.array([None, 5_000], pa.int64()), "constant": [7.0, 7.1]}))
    assert other.tolist() == pytest.approx([0, 1e6])
    with pytest.raises(ValueError, match="not a profile"):
        usual_ranges(json.dumps({"records": 1}).encode())


def test_columns_of_other_types_are_left_out() -> None:
    usual = UsualRanges({"x": (0.0, 1.0), "gone": (0.0, 1.0), "endless": (float("-inf"), 1.0)})
    assert usual.scores(pa.record_batch({"x": ["text"], "endless": [9.0]})).tolist() == [0.0]
