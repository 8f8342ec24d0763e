from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.cli.commands.run import check_options
from beam_pipeline.options import ServingOptions
from models.errors import OptionsError
from models.observing.lineage.job import LineageJob
from models.observing.otlp_settings import OtlpSettings
from models.observing.payloads.file_settings import FileSettings
from models.observing.prometheus_settings import PrometheusSettings
from models.observing.settings import ObservationSettings
from models.records.registry import RegistrySettings
from models.records.registry_framing import RegistryFraming
from models.results.dead_letter import DeadLetterTopic
from models.scorers import model_types
from transforms.file_systems import BeamFiles

OPTIONS = ServingOptions("localhost:1", "records", "models", "results", "letters", "wine")

# The start of a worker: nothing listens at the broker's address, so no model makes it import an engine.
SET_UP = """
import sys
from beam_pipeline.options import ServingOptions
from transforms.scoring import ScoreBatch
options = ServingOptions("127.0.0.1:1", "records", "models", "results", "letters", "wine", engines=sys.argv[1])
score = ScoreBatch(options.models(), options.scoring(), "swap", None)
before = "tensorflow" in sys.modules
score.setup()
print(before, "tensorflow" in sys.modules, flush=True)
import os
os._exit(0)
"""


def test_tensorflow_is_the_engine_by_default() -> None:
    assert OPTIONS.engine_types() == ("tensorflow-saved-model",)
    assert OPTIONS.models().engines == ("tensorflow-saved-model",)


def test_several_engines_are_named_with_commas_and_none_is_none() -> None:
    both = replace(OPTIONS, engines="tensorflow-saved-model, tensorflow-serving-rest")
    assert both.engine_types() == ("tensorflow-saved-model", "tensorflow-serving-rest")
    assert replace(OPTIONS, engines="none").engine_types() == ()


def test_dead_letters_are_in_single_object_encoding_unless_their_schema_is_to_be_registered() -> None:
    assert OPTIONS.dead_letters() == DeadLetterTopic("letters")
    registered = replace(OPTIONS, dead_letter_format="confluent-avro", schema_registry="http://registry:8081")
    framing = RegistryFraming(RegistrySettings("http://registry:8081"))
    assert registered.dead_letters() == DeadLetterTopic("letters", framing)


def test_telemetry_goes_to_the_endpoint_as_the_consumer_group() -> None:
    endpoint = "http://collector:4318"
    given = replace(OPTIONS, otlp_endpoint=endpoint, trace_share=0.5, group="fraud")
    assert given.observation() == ObservationSettings(otlp=OtlpSettings(endpoint, "fraud", 0.5))
    assert OPTIONS.observation() == ObservationSettings()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"trace_share": 0.5}, r"missing: --otlp-endpoint \(--trace-share needs one\)"),
        ({"otlp_endpoint": "collector:4318"}, "--otlp-endpoint is not http"),
    ],
)
def test_telemetry_that_can_go_nowhere_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        check_options(replace(OPTIONS, **changed))


def test_registered_dead_letters_need_a_registry() -> None:
    message = r"missing: --schema-registry \(--dead-letter-format confluent-avro needs one\)"
    with pytest.raises(OptionsError, match=message):
        check_options(replace(OPTIONS, dead_letter_format="confluent-avro"))


def test_the_page_with_metrics_names_the_deployment() -> None:
    options = replace(OPTIONS, metrics_port=9400, group="fraud")
    assert options.observation() == ObservationSettings(PrometheusSettings(9400, "fraud"))


def test_nothing_is_opened_for_a_payload_log_that_is_off() -> None:
    off = replace(OPTIONS, payload_folder="log", payload_topic="payloads")
    assert off.observation() == ObservationSettings()


def test_a_payload_log_has_the_destinations_that_are_named() -> None:
    logged = replace(OPTIONS, payload_share=0.1, payload_folder="gs://bucket/log", payload_topic="payloads")
    payloads = pickle.loads(pickle.dumps(logged.observation())).payloads  # as it goes to the workers
    assert payloads.files == FileSettings("gs://bucket/log", BeamFiles(), 300, 64)
    assert (payloads.share, payloads.deployment, payloads.topic.topic) == (0.1, "beam-serving", "payloads")
    topic_only = replace(logged, payload_folder=None).observation().payloads
    assert topic_only is not None and topic_only.files is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"payload_share": 0.1}, "--payload-share needs --payload-folder or --payload-topic"),
        ({"payload_share": 0.1, "payload_folder": "ftp://x/y"}, "--payload-folder 'ftp://x/y' cannot be written"),
        ({"openlineage_url": "marquez:5000"}, "--openlineage-url is not an address"),
    ],
)
def test_observers_are_checked_before_a_pipeline_is_built(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        check_options(replace(OPTIONS, **changes))


@pytest.mark.parametrize(("share", "sampled"), [(0.0, ()), (0.1, ("payloads", "explanations"))])
def test_lineage_names_all_topics_that_are_written(share: float, sampled: tuple[str, ...]) -> None:
    topics = replace(OPTIONS, shadow_topic="shadows", payload_topic="payloads", explain_topic="explanations")
    options = replace(topics, openlineage_url="http://marquez:5000", payload_share=share, explain_share=share)
    lineage = options.observation().lineage
    assert lineage is not None
    assert lineage.job == LineageJob(
        "beam-serving", "localhost:1", ("records", "models"), ("results", "letters", "shadows", *sampled)
    )


@pytest.mark.parametrize("engines", ["tensorflow", "none,tensorflow-saved-model", "tensorflow-saved-model,"])
def test_an_unknown_engine_is_refused_and_the_known_ones_are_named(engines: str) -> None:
    known = ", ".join(model_types())
    with pytest.raises(OptionsError, match=f"--engines .* is not a model type; use none, or any of {known}"):
        replace(OPTIONS, engines=engines).engine_types()


@pytest.mark.parametrize(("engines", "after"), [("tensorflow-saved-model", "True"), ("none", "False")])
def test_a_worker_imports_the_named_engines_when_it_is_set_up(engines: str, after: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SET_UP, engines], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert done.stdout == f"False {after}\n", done.stderr
