from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from beam_pipeline.publishing.drafts import Draft, check_draft, draft_descriptor
from beam_pipeline.publishing.inspection import Inspection
from models.model_topic.golden import GoldenSample, GoldenSamples
from models.records.record_type import RecordType
from tests.saved_models import save_recommender, save_version_model

SAVED_MODEL = "tensorflow-saved-model"


def inspected(draft: Draft, record_type: RecordType | None = None) -> Inspection:
    return check_draft(draft, draft_descriptor(draft), record_type)


@pytest.fixture
def recommender(tmp_path: Path) -> Draft:
    path = save_recommender(tmp_path / "model")
    return Draft("recommender", SAVED_MODEL, path=str(path), inputs={"users": ("user",)})


def test_an_inspection_says_how_records_fill_the_inputs_and_what_an_example_gives(recommender: Draft) -> None:
    found = inspected(recommender)
    assert [fields for _, fields in found.inputs] == [("each item of products",), ("user",)]
    assert isinstance(found.example, tuple)
    record, outputs = found.example
    # The model answers user + product / 1000.
    assert outputs["predictions"] == [
        [pytest.approx(record["user"] + product / 1000, rel=1e-6)] for product in record["products"]
    ]
    first, *_, last = found.lines()
    assert first == "type       tensorflow-saved-model, signature serving_default"
    assert last.startswith("size       ")


def test_the_size_is_that_of_the_published_files(recommender: Draft) -> None:
    files = [one for one in Path(recommender.path or "").rglob("*") if one.is_file()]
    assert inspected(recommender).size == sum(one.stat().st_size for one in files)


def test_the_size_of_an_inline_model_is_that_of_its_message(recommender: Draft) -> None:
    draft = replace(recommender, inline=True)
    descriptor = draft_descriptor(draft)
    assert check_draft(draft, descriptor, None).size == len(descriptor.model_bytes or b"")


def test_the_example_is_the_first_golden_sample_if_there_is_one(recommender: Draft) -> None:
    sample = GoldenSample('{"user": 7, "products": [500], "dataType": "recommender"}', '{"predictions": [[7.5]]}')
    found = inspected(replace(recommender, golden=GoldenSamples((sample,), 1e-6)))
    assert found.example == ({"user": 7, "products": [500], "dataType": "recommender"}, {"predictions": [[7.5]]})


def test_records_that_no_generator_makes_have_an_example_of_zeros(tmp_path: Path) -> None:
    schema = tmp_path / "own.avsc"
    fields = '{"name": "x", "type": {"type": "array", "items": "float"}}, {"name": "note", "type": ["null", "string"]}'
    schema.write_text(f'{{"type": "record", "name": "own", "fields": [{fields}]}}')
    path = save_version_model(tmp_path / "model", 3)
    found = inspected(Draft("own", SAVED_MODEL, path=str(path), inputs={"x": ("x",)}), RecordType.named(str(schema)))
    assert isinstance(found.example, tuple), found.example
    record, outputs = found.example
    assert record == {"x": [0.0], "note": ""}
    assert outputs["version"] in (3, [3])


def test_without_a_schema_there_is_no_example_and_the_reason_is_said(tmp_path: Path) -> None:
    found = inspected(Draft("m", SAVED_MODEL, path=str(save_version_model(tmp_path / "model", 1))))
    assert found.example == "the schema of the records is not known"
    assert "example    none: the schema of the records is not known" in list(found.lines())
