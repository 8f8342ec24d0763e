from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.cli.arguments import OPTIONS, RUN
from beam_pipeline.template.parameters import (
    FLEX,
    RUNTIME,
    defaults,
    is_required,
    option_words,
    parameter,
    parameter_name,
    pattern,
)
from models.errors import OptionsError
from models.kafka.start_at import StartAt

TEMPLATE_MODULE = "beam_pipeline.template"


def test_every_option_of_run_is_a_parameter_but_the_runner() -> None:
    assert set(RUN) - set(FLEX) == {"runner"}
    assert set(RUNTIME) <= set(FLEX)


@pytest.mark.parametrize("name", FLEX)
def test_a_default_fits_its_own_pattern(name: str) -> None:
    default = defaults().get(name)
    assert default is None or re.fullmatch(pattern(OPTIONS[name]), str(default))


@pytest.mark.parametrize("name", [name for name in FLEX if OPTIONS[name].choices])
def test_a_choice_is_an_enumeration_and_nothing_else_fits(name: str) -> None:
    made = parameter(name, {})
    assert [one.value for one in made.enum_options] == list(OPTIONS[name].choices)
    assert all(re.fullmatch(made.regexes[0], choice) for choice in OPTIONS[name].choices)
    assert not re.fullmatch(made.regexes[0], "neither")


@pytest.mark.parametrize("name", [name for name in FLEX if OPTIONS[name].number is not None])
@pytest.mark.parametrize("text", ["-1", "0", "1", "2000", "x", "", "1.5"])
def test_the_pattern_of_a_number_takes_what_the_option_takes(name: str, text: str) -> None:
    assert bool(re.fullmatch(pattern(OPTIONS[name]), text)) == is_taken(name, text)


@pytest.mark.parametrize("text", ["0", "1", "0.0", "1.0", "0.25", ".5", "1.5", "2", "-1", "x", "", "1.01"])
def test_the_pattern_of_a_share_takes_what_the_option_takes(text: str) -> None:
    assert bool(re.fullmatch(pattern(OPTIONS["trace-share"]), text)) == is_taken("trace-share", text)


def is_taken(name: str, text: str) -> bool:
    """Whether an option takes a value."""
    try:
        OPTIONS[name].checked(text)
    except OptionsError:
        return False
    return True


@pytest.mark.parametrize(
    "text",
    [
        "earliest",
        "latest",
        "committed",
        "0",
        "1700000000000",
        "2026-01-31",
        "2026-01-31T12:00:00Z",
        "2026-01-31 12:00+01:00",
    ],
)
def test_the_pattern_of_the_start_takes_what_can_be_read(text: str) -> None:
    StartAt.parse(text)
    assert re.fullmatch(pattern(OPTIONS["start"]), text)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("bootstrap-servers", "b-1:9092,b-2.example.com:9093", "b-1, b-2"),
        ("records-topic", "records.v1_a-b", "records topic"),
        ("start", "earliest", "yesterday"),
        ("kafka-config", "security.protocol=SASL_SSL;sasl.mechanism=PLAIN", "security.protocol"),
        ("record-schema", "gs://bucket/schema.avsc", ""),
    ],
)
def test_a_pattern_tells_good_from_bad(name: str, good: str, bad: str) -> None:
    assert re.fullmatch(parameter(name, {}).regexes[0], good)
    assert not re.fullmatch(parameter(name, {}).regexes[0], bad)


def test_a_parameter_is_optional_when_run_can_do_without_it() -> None:
    required = {name for name in FLEX if not parameter(name, {}).is_optional}
    assert required == {name for name in FLEX if is_required(name)}
    assert required == {
        "bootstrap-servers", "records-topic", "models-topic", "results-topic", "dead-letter-topic"
    }  # fmt: skip


def test_what_a_template_is_built_with_is_the_default() -> None:
    made = parameter("records-topic", {"records_topic": "records"})
    assert (made.is_optional, made.default_value) == (True, "records")


def test_no_parameter_has_the_name_of_an_option_of_beam() -> None:
    """Otherwise Beam's option would receive the value, or its default would take precedence over ours."""
    of_beam = {name for kind in kinds(PipelineOptions) for name in kind().get_all_options(current_only=True)}
    assert "bootstrap_servers" in of_beam
    assert not of_beam & {parameter_name(name) for name in FLEX}


def kinds(kind: type[PipelineOptions]) -> Iterator[type[PipelineOptions]]:
    for child in kind.__subclasses__():
        if not child.__module__.startswith(TEMPLATE_MODULE):
            yield child
        yield from kinds(child)


def test_parameters_become_options_of_run_and_the_rest_stays() -> None:
    given = [("kafka_bootstrap_servers", "b:9092"), ("kafka_config", "a=1;b=2=3"), ("project", "p"), ("max_batch", "5")]
    words, others = option_words(given)
    assert words == ["--bootstrap-servers=b:9092", "--kafka-config=a=1", "--kafka-config=b=2=3", "--max-batch=5"]
    assert others == ["--project=p"]


def test_pairs_that_are_none_are_refused_and_not_repeated() -> None:
    with pytest.raises(OptionsError, match="kafka_config takes K=V") as raised:
        option_words([("kafka_config", "hunter2")])
    assert "hunter2" not in str(raised.value)
