from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.cli.arguments import RUN, add_options
from beam_pipeline.cli.option_values import kafka_settings, read_options, read_runner_options, serving_options
from beam_pipeline.options import RecordsTopic
from models.artifacts.pickles import NO_PICKLES
from models.errors import OptionsError
from models.explaining.settings import ExplanationSettings

COMPLETE = [
    *("--bootstrap-servers", "localhost:9092", "--records-topic", "records", "--models-topic", "models"),
    *("--results-topic", "results", "--dead-letter-topic", "letters", "--record-schema", "wine"),
]


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_options(parser, RUN)
    return parser.parse_args(list(words))


def read(*words: str) -> dict[str, Any]:
    return read_options(parse(*words), RUN)


def config_file(folder: Path, text: str) -> str:
    path = folder / "serving.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_what_is_not_given_has_its_default() -> None:
    options = serving_options(read(*COMPLETE), [])
    assert (options.start, options.on_gap, options.max_batch, options.runner) == (
        "committed",
        "fail",
        2_000,
        "DirectRunner",
    )


def test_a_missing_option_is_named() -> None:
    with pytest.raises(OptionsError, match=r"missing --models-topic"):
        serving_options(read(*COMPLETE[:4], *COMPLETE[6:]), [])


def test_all_options_can_stand_in_the_file_and_the_command_line_wins(tmp_path: Path) -> None:
    text = "records-topic: from-file\nmax-batch: 7\nkafka-config: {a: 1, b: true}\n"
    values = read("--config", config_file(tmp_path, text), "--max-batch", "9", "--kafka-config", "a=2")
    assert values == {"records_topic": "from-file", "max_batch": 9, "kafka_config": {"a": "2", "b": "true"}}


@pytest.mark.parametrize("text", ["outliers: on", "outliers: 'on'"])
def test_a_switch_may_be_a_boolean_of_yaml(tmp_path: Path, text: str) -> None:
    assert read("--config", config_file(tmp_path, text)) == {"outliers": "on"}
    options = serving_options(read(*COMPLETE, "--config", config_file(tmp_path, text)), [])
    assert options.models().outliers and options.scoring().outliers
    assert not serving_options(read(*COMPLETE), []).models().outliers


def test_drift_is_watched_if_there_is_a_topic_for_it() -> None:
    assert serving_options(read(*COMPLETE), []).drift() is None
    drift = serving_options(read(*COMPLETE, "--drift-topic", "d", "--drift-window", "5"), []).drift()
    assert drift is not None
    assert (drift.topic, drift.sketches_topic, drift.deployment) == ("d", "d-sketches", "beam-serving")
    assert (drift.policy.window_seconds, drift.policy.min_records) == (5, 500)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("record-topic: x", "unknown key 'record-topic'; did you mean 'records-topic'"),
        ("- a\n- b", "not a mapping"),
        ("a: [", "--config"),
        ("max-batch: many", "'many' is not a whole number"),
        ("on-update: later", "not one of swap, wait"),
        ("records-topic: ''", "not text, or is empty"),
    ],
)
def test_a_malformed_file_is_refused_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(OptionsError, match=message.replace("[", r"\[")):
        read("--config", config_file(tmp_path, text))


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(OptionsError, match=r"nowhere\.yaml"):
        read("--config", "nowhere.yaml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--max-batch", "0"), "--max-batch 0 is less than 1"),
        (("--max-batch-wait-ms", "x"), "not a whole number"),
        (("--trace-share", "half"), "--trace-share 'half' is not a number"),
        (("--trace-share", "1.5"), "--trace-share 1.5 is not between 0 and 1"),
        (("--trace-share", "nan"), "--trace-share nan is not between 0 and 1"),
        (("--record-format", "xml"), "not one of avro, json, confluent-avro, json-schema, protobuf, tf-example"),
        (("--payload-share", "some"), "--payload-share 'some' is not a number"),
        (("--payload-share", "1.1"), "--payload-share 1.1 is not between 0 and 1"),
        (("--payload-share", "nan"), "--payload-share nan is not between 0 and 1"),
        (("--payload-megabytes", "0"), "--payload-megabytes 0 is less than 1"),
        (("--kafka-config", "security.protocol"), "is not K=V"),
        (("--kafka-config", "=x"), "is not K=V"),
    ],
)
def test_a_malformed_value_is_refused_with_the_option(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        read(*words)


def test_a_value_of_kafka_config_may_hold_equals_signs() -> None:
    assert read("--kafka-config", "sasl.password=a=b")["kafka_config"] == {"sasl.password": "a=b"}


def test_a_share_is_a_number_from_none_to_all() -> None:
    assert [read("--payload-share", text)["payload_share"] for text in ("0", "0.25", "1")] == [0.0, 0.25, 1.0]


@pytest.mark.parametrize(
    ("share", "reason"), [("some", "is not a number"), ("1.1", "is not between 0 and 1"), ("nan", "is not between")]
)
def test_a_share_outside_its_range_is_refused(share: str, reason: str) -> None:
    with pytest.raises(OptionsError, match=f"--explain-share .*{reason}"):
        read("--explain-share", share)


def test_explanations_need_a_topic_and_are_off_without_a_share() -> None:
    options = serving_options(read(*COMPLETE, "--explain-share", "0.25"), [])
    with pytest.raises(OptionsError, match="missing: --explain-topic"):
        options.explanations()
    assert serving_options(read(*COMPLETE, "--explain-topic", "explanations"), []).explanations() is None
    both = ("--explain-share", "0.25", "--explain-topic", "explanations", "--explain-output", "scores")
    explanations = serving_options(read(*COMPLETE, *both), []).explanations()
    assert explanations == ExplanationSettings("explanations", 0.25, "scores")


def test_two_options_with_one_topic_are_refused() -> None:
    with pytest.raises(OptionsError, match="--status-topic and --records-topic are both 'records'"):
        serving_options(read(*COMPLETE, "--status-topic", "records"), [])


def test_runner_options_of_the_file_are_a_list_or_a_mapping(tmp_path: Path) -> None:
    listed = parse("--config", config_file(tmp_path, "runner-options: [--a=1, --b]"))
    assert read_runner_options(listed) == ["--a=1", "--b"]
    mapped = parse("--config", config_file(tmp_path, "runner-options: {a: 1}"))
    assert read_runner_options(mapped) == ["--a=1"]
    wrong = parse("--config", config_file(tmp_path, "runner-options: 5"))
    with pytest.raises(OptionsError, match="runner-options"):
        read_runner_options(wrong)


def test_a_setting_that_librdkafka_does_not_know_is_refused_before_anything_runs() -> None:
    with pytest.raises(OptionsError, match=r"no\.such\.setting"):
        kafka_settings(read(*COMPLETE, "--kafka-config", "no.such.setting=1"))


def test_every_option_has_help_and_an_attribute() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, RUN)
    assert all(action.help for action in parser._actions)


def test_models_follow_the_groups_name_the_data_types_and_the_timeout() -> None:
    words = ("--group", "g", "--data-types", "a, b", "--models-timeout", "5")
    models = serving_options(read(*COMPLETE, *words), []).models()
    assert (models.deployment, models.data_types, models.timeout) == ("g", ("a", "b"), 5)
    plain = serving_options(read(*COMPLETE), []).models()
    assert (plain.deployment, plain.data_types, plain.timeout) == ("beam-serving", (), 60)


def test_workers_load_the_pickles_that_are_allowed_and_no_others() -> None:
    words = ("--allow-pickle", f"wine, sha256:{64 * 'a'}")
    pickles = serving_options(read(*COMPLETE, *words), []).models().pickles
    assert (pickles.names, pickles.digests) == (frozenset({"wine"}), frozenset({64 * "a"}))
    assert serving_options(read(*COMPLETE), []).models().pickles == NO_PICKLES
    with pytest.raises(OptionsError, match="--allow-pickle 'sha256:1'"):
        serving_options(read(*COMPLETE, "--allow-pickle", "sha256:1"), []).models()


RECORDS = """
records:
  - {topic: wines, schema: wine}
  - {topic: transactions, schema: transaction, format: json}
"""
WITHOUT_RECORDS = [*COMPLETE[:2], *COMPLETE[4:10]]


def test_a_file_may_list_several_topics_with_a_schema_and_a_format_each(tmp_path: Path) -> None:
    options = serving_options(read(*WITHOUT_RECORDS, "--config", config_file(tmp_path, RECORDS)), [])
    assert options.records_topics() == (
        RecordsTopic("wines", "wine"),
        RecordsTopic("transactions", "transaction", "json"),
    )
    assert {topic: (one.name, one.format) for topic, one in options.record_types().items()} == {
        "wines": ("wine", "avro"),
        "transactions": ("transaction", "json"),
    }


def test_a_list_of_topics_and_the_options_of_one_contradict_each_other(tmp_path: Path) -> None:
    file = config_file(tmp_path, RECORDS)
    with pytest.raises(OptionsError, match=r"--record-format and the list 'records' of .* are both given"):
        read("--config", file, "--record-format", "json")


@pytest.mark.parametrize(
    ("listed", "text"),
    [
        ("[]", "is not a list of topics"),
        ("wines", "is not a list of topics"),
        ("[wines]", "'wines' is not a topic with topic, schema, format"),
        ("[{topic: wines}]", "is not a topic with"),
        ("[{topic: wines, schema: wine, shema: wine}]", "is not a topic with"),
        ("[{topic: wines, schema: wine, format: xml}]", "--record-format 'xml'"),
    ],
)
def test_a_malformed_list_of_topics_is_refused(tmp_path: Path, listed: str, text: str) -> None:
    with pytest.raises(OptionsError, match=text):
        read("--config", config_file(tmp_path, f"records: {listed}"))


def test_no_topic_is_listed_twice(tmp_path: Path) -> None:
    file = config_file(tmp_path, "records: [{topic: a, schema: wine}, {topic: a, schema: wine}]")
    with pytest.raises(OptionsError, match=r"--records\[1\] and --records-topic are both 'a'"):
        serving_options(read(*WITHOUT_RECORDS, "--config", file), [])
