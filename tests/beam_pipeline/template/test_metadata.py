from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from google.cloud import dataflow_v1beta3 as dataflow

from beam_pipeline.cli.arguments import OPTIONS
from beam_pipeline.template.metadata import as_json, classic_metadata, flex_metadata
from beam_pipeline.template.parameters import FLEX, RUNTIME, defaults, parameter_name
from tests.beam_pipeline.template.conftest import Staged

ROOT = Path(__file__).resolve().parents[3]


def names(metadata: dict[str, Any]) -> list[str]:
    return [one["name"] for one in metadata["parameters"]]


def test_the_flex_template_has_every_option_of_run_with_its_help() -> None:
    metadata = json.loads(as_json(flex_metadata()))
    assert names(metadata) == [*(parameter_name(name) for name in FLEX), "config"]
    for option, described in zip(map(OPTIONS.__getitem__, FLEX), metadata["parameters"], strict=False):
        assert option.help[1:] in described["helpText"]
        assert described["regexes"]
        assert described["label"]


def test_the_file_for_gcloud_is_what_the_options_say() -> None:
    text = (ROOT / "dataflow" / "metadata.json").read_text(encoding="utf-8")
    assert text == as_json(flex_metadata()), "write it anew: beam-serving template metadata --kind flex"


def test_the_metadata_is_what_the_service_reads() -> None:
    read = dataflow.TemplateMetadata.from_json(as_json(flex_metadata()))
    assert read == flex_metadata()
    assert read.streaming


def test_a_classic_template_takes_what_can_wait_and_says_what_cannot(staged: Staged) -> None:
    assert names(staged.metadata) == [parameter_name(name) for name in RUNTIME]
    said = staged.metadata["description"]
    for name in (set(FLEX) & set(defaults())) - set(RUNTIME) - {"schema-registry-config"}:
        assert f"{name} " in said, name
    assert "data-types" not in said  # not given, and without a default
    assert "record-schema wine" in said


def test_a_classic_templates_own_values_are_the_defaults_of_its_parameters() -> None:
    described = classic_metadata({"records_topic": "records", "record_schema": "wine"})
    by_name = {one.name: one for one in described.parameters}
    assert (by_name["records_topic"].default_value, by_name["records_topic"].is_optional) == ("records", True)
    assert not by_name["models_topic"].is_optional
    assert by_name["group"].default_value == "beam-serving"
