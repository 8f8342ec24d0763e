from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from beam_pipeline.publishing.drafts import Draft, check_draft, draft_descriptor
from models.artifacts.digest import digest_of_bytes, digest_of_path
from models.errors import ModelLoadError, OptionsError, PublishError
from models.records.record_type import RecordType
from tests.distributions import distributions
from tests.models.scorers import onnx_graphs
from tests.saved_models import save_garbage, save_recommender, save_version_model, save_wine_model

SAVED_MODEL = "tensorflow-saved-model"
STRENGTH = """
from models.functions import Column, column_function

@column_function({"alcohol": Column("float64")})
def strong(columns, limit):
    return {"strong": columns["alcohol"] > limit}
"""


def test_a_model_by_path_has_its_absolute_location_and_the_digest_of_its_folder(tmp_path: Path) -> None:
    folder = save_version_model(tmp_path / "model", 1)
    descriptor = draft_descriptor(Draft("m", SAVED_MODEL, path=str(folder)))
    assert descriptor.model_source_location == str(folder.resolve())
    assert descriptor.digest == digest_of_path(folder)
    assert descriptor.model_bytes is None


def test_an_inline_model_travels_with_the_digest_of_its_bytes(tmp_path: Path) -> None:
    folder = save_version_model(tmp_path / "model", 1)
    descriptor = draft_descriptor(Draft("m", SAVED_MODEL, path=str(folder), inline=True))
    assert descriptor.model_bytes is not None
    assert descriptor.digest == digest_of_bytes(descriptor.model_bytes)
    assert descriptor.model_source_location is None


def test_the_digest_of_a_location_is_that_of_what_is_there(tmp_path: Path) -> None:
    folder = save_version_model(tmp_path / "model", 1)
    descriptor = draft_descriptor(Draft("m", SAVED_MODEL, location=str(folder)))
    assert descriptor.digest == digest_of_path(folder)


@pytest.mark.parametrize("model_type", ["tensorflow-serving-grpc", "open-inference-grpc"])
def test_a_model_on_a_server_has_no_digest(model_type: str) -> None:
    descriptor = draft_descriptor(Draft("m", model_type, location="grpc://localhost:1/m"))
    assert (descriptor.digest, descriptor.model_source_location) == (None, "grpc://localhost:1/m")


@pytest.mark.parametrize(
    ("draft", "message"),
    [
        (Draft("m", SAVED_MODEL, path="no/such/folder"), "no/such/folder"),
        (Draft("m", "tensorflow-serving-rest", path="."), "give its --location"),
        (Draft("m", "open-inference-rest", path="."), "give its --location"),
        (Draft("a/b", "tensorflow-serving-rest", location="http://localhost/v1/models/m"), "--name"),
        (Draft("n" * 250, "tensorflow-serving-rest", location="http://localhost/v1/models/m"), "the limit is 249"),
    ],
)
def test_a_wrong_draft_is_refused_with_the_remedy(draft: Draft, message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        draft_descriptor(draft)


def test_a_location_where_nothing_is_cannot_be_drafted(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="nothing"):
        draft_descriptor(Draft("m", SAVED_MODEL, location=str(tmp_path / "nothing")))


def test_a_broken_model_is_not_published(tmp_path: Path) -> None:
    draft = Draft("m", SAVED_MODEL, path=str(save_garbage(tmp_path / "model")))
    with pytest.raises(PublishError, match="'m' was not published"):
        check_draft(draft, draft_descriptor(draft), None)


def test_a_model_for_a_bundled_schema_is_checked_against_its_fields(tmp_path: Path) -> None:
    draft = Draft("wine", SAVED_MODEL, path=str(save_wine_model(tmp_path / "model")), signature="predict")
    with pytest.raises(PublishError, match="--input inputs=fixed_acidity"):
        check_draft(draft, draft_descriptor(draft), None)
    fields = tuple(name for name in RecordType.named("wine").codec.fields.names if name != "lot_id")
    mapped = replace(draft, inputs={"inputs": fields})
    check_draft(mapped, draft_descriptor(mapped), None)


def test_an_input_that_the_signature_has_not_is_named(tmp_path: Path) -> None:
    draft = Draft("m", SAVED_MODEL, path=str(save_recommender(tmp_path / "model")), inputs={"user": ("user",)})
    with pytest.raises(PublishError, match="the signature's inputs are products, users"):
        check_draft(draft, draft_descriptor(draft), None)


def test_a_model_in_onnx_is_checked_against_the_fields_of_the_records(tmp_path: Path) -> None:
    from onnx import TensorProto

    model = onnx_graphs.write(tmp_path / "wine.onnx", onnx_graphs.identity(TensorProto.FLOAT, [None, 11]))
    draft = Draft("wine", "onnx", path=str(model), inline=True)
    with pytest.raises(PublishError, match=r"input 'a' \[n, 11\] is not a field.*--input a=fixed_acidity"):
        check_draft(draft, draft_descriptor(draft), None)
    fields = tuple(name for name in RecordType.named("wine").codec.fields.names if name != "lot_id")
    for mapped, reason in (((*fields, "lot_id"), "lot_id"), (fields[:10], "takes 11 values per record, but 10")):
        wrong = replace(draft, inputs={"a": mapped})
        with pytest.raises(PublishError, match=reason):
            check_draft(wrong, draft_descriptor(wrong), None)
    right = replace(draft, inputs={"a": fields})
    check_draft(right, draft_descriptor(right), None)


def test_a_function_is_checked_against_the_fields_of_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model.json"
    with distributions(tmp_path, monkeypatch) as write:
        write("acme-wine", "beam_serving.functions", "acme-strong", STRENGTH, "acme_wine:strong")
        for name, parameters, error in (
            ("acme-strong", '{"limit": 12}', None),
            ("acme-strong", "{}", "missing a required argument: 'limit'"),
            ("acme-weak", "{}", r"function 'acme-weak' is not installed; installed: acme-strong\."),
        ):
            model.write_text(f'{{"function": "{name}", "parameters": {parameters}}}')
            draft = Draft("wine", "python", path=str(model))
            if error is None:
                check_draft(draft, draft_descriptor(draft), None)
                continue
            with pytest.raises(PublishError, match=error):
                check_draft(draft, draft_descriptor(draft), None)
