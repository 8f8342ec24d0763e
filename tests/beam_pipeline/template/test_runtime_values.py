from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest
from apache_beam.internal import pickler
from apache_beam.options.value_provider import RuntimeValueProvider

from beam_pipeline.template.classic import classic_options
from beam_pipeline.template.runtime_values import RuntimeText, runtime_start
from models.errors import OptionsError
from models.kafka.start_at import StartAt


@pytest.fixture
def given() -> Iterator[dict[str, str]]:
    """Sets the parameters of a job in this process for the test, as in the job's workers."""
    parameters: dict[str, str] = {"job_name": "serving"}
    RuntimeValueProvider.set_runtime_options(parameters)
    yield parameters
    RuntimeValueProvider.runtime_options = None


def carried(value: object) -> object:
    """Passes a value through Beam's pickler, as from the graph to a worker."""
    return pickler.loads(pickler.dumps(value))


def test_while_a_template_is_built_a_text_reads_as_its_parameters_name() -> None:
    text = RuntimeText("bootstrap-servers", None)
    assert text == "{kafka_bootstrap_servers}"
    again = carried(text)
    assert isinstance(again, RuntimeText)
    assert (again, again.name, again.default) == (text, "bootstrap-servers", None)


def test_in_a_worker_a_text_is_what_the_job_was_given(given: dict[str, str]) -> None:
    given["records_topic"] = "given"
    again = carried({"topic": (RuntimeText("records-topic", "default"),)})
    assert again == {"topic": ("given",)}


def test_in_a_worker_of_a_job_that_was_given_none_it_is_the_default(given: dict[str, str]) -> None:
    assert carried(RuntimeText("group", "beam-serving")) == "beam-serving"
    assert carried(RuntimeText("status-topic", None)) is None


def test_a_parameter_that_must_be_given_is_named_when_it_was_not(given: dict[str, str]) -> None:
    with pytest.raises(OptionsError, match="'records_topic'"):
        carried(RuntimeText("records-topic", None))


def test_the_start_position_is_read_in_the_worker(given: dict[str, str]) -> None:
    start = runtime_start("committed")
    given["start"] = "2020-01-01"
    assert carried(start) == StartAt("timestamp", 1_577_836_800_000)
    given["start"] = "yesterday"
    with pytest.raises(OptionsError, match="'yesterday' is not one of"):
        carried(start)


def test_outside_of_a_worker_the_start_position_stays_a_parameter() -> None:
    again = pickle.loads(pickle.dumps(runtime_start("latest")))
    assert (again.kind, again.default) == ("latest", "latest")


def test_a_templates_settings_are_those_of_the_job_in_its_workers(given: dict[str, str]) -> None:
    RuntimeValueProvider.runtime_options = None
    options = classic_options({"record_schema": "wine", "group": "ours", "max_batch": 7}, [])
    reading = options.reading()
    RuntimeValueProvider.set_runtime_options({**given, "kafka_bootstrap_servers": "b:9092", "start": "latest"})
    again = carried(reading)
    assert (again.kafka.bootstrap_servers, again.group) == ("b:9092", "ours")  # type: ignore[attr-defined]
    assert (again.start, again.max_records) == (StartAt("latest"), 7)  # type: ignore[attr-defined]


def test_two_topics_of_a_template_that_are_one_are_refused() -> None:
    with pytest.raises(OptionsError, match="are both 'same'"):
        classic_options({"record_schema": "wine", "records_topic": "same", "results_topic": "same"}, [])


def test_a_start_position_that_cannot_be_read_is_refused_when_the_template_is_built() -> None:
    with pytest.raises(OptionsError, match="'yesterday' is not one of"):
        classic_options({"record_schema": "wine", "start": "yesterday"}, []).reading()
