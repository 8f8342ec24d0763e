"""Reads the values of options from the command line and a configuration file, and combines them.

The file (`--config serving.yaml`) may hold any option by its name without the leading dashes, so that it can describe a
whole deployment. The command line takes precedence over it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beam_pipeline.cli.arguments import OPTIONS, RUN, suggestion
from beam_pipeline.options import REGISTRY_FORMATS, RecordsTopic, ServingOptions
from models.errors import OptionsError

if TYPE_CHECKING:
    from models.kafka.client import KafkaSettings
    from models.records.record_type import RecordType

RUNNER_OPTIONS = "runner-options"

# In a configuration file, a list of record topics may replace the three options of a single one.
RECORDS = "records"
_RECORDS_KEYS = ("topic", "schema", "format")

# The options of Beam and of the runners that are spelled with dashes; all others use underscores. A test compares this
# with Beam's own parsers.
DASHED_BEAM_OPTIONS = ("--job-server-timeout", "--flink-master", "--savepoint-on-stop")


def read_options(given: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Reads the named options from the command line and the configuration file, and checks each one.

    Returns:
      The values by attribute of `ServingOptions`; options that were not given are absent.

    Raises:
      OptionsError: the file cannot be read or has an unknown key, or a value is malformed.
    """
    config = _read_config(given.config)
    values: dict[str, Any] = _listed_records(given, config, names)
    for key, value in config.items():
        if key in names:
            values[OPTIONS[key].field] = OPTIONS[key].checked(value)
    for name in names:
        option = OPTIONS[name]
        value = getattr(given, option.field)
        if value is None:
            continue
        checked = option.checked(value)
        values[option.field] = {**values.get(option.field, {}), **checked} if option.pairs else checked
    return values


def _listed_records(given: argparse.Namespace, config: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The values that the list `records` of a configuration file provides; empty when there is no such list."""
    if RECORDS not in config or not {"records-topic", "record-schema"} & set(names):
        return {}
    for name in ("records-topic", "record-schema", "record-format"):
        if name in config or getattr(given, OPTIONS[name].field, None) is not None:
            raise OptionsError(f"--{name} and the list {RECORDS!r} of {given.config} are both given; use one of them")
    listed = config[RECORDS]
    if not isinstance(listed, list) or not listed:
        raise OptionsError(f"{given.config}: {RECORDS} is not a list of topics, each with {', '.join(_RECORDS_KEYS)}")
    first, *others = [_records_topic(given.config, one) for one in listed]
    return {
        "records_topic": first.topic,
        "record_schema": first.schema,
        "record_format": first.format,
        "further_records": tuple(others),
    }


def _records_topic(config: str, entry: object) -> RecordsTopic:
    by_registry = isinstance(entry, Mapping) and entry.get("format") in REGISTRY_FORMATS
    needed = {"topic"} if by_registry else {"topic", "schema"}
    if not isinstance(entry, Mapping) or not needed <= entry.keys() <= set(_RECORDS_KEYS):
        raise OptionsError(f"{config}: {RECORDS}: {entry!r} is not a topic with {', '.join(_RECORDS_KEYS)}")
    options = {"topic": "records-topic", "schema": "record-schema", "format": "record-format"}
    return RecordsTopic(**{key: OPTIONS[options[key]].checked(value) for key, value in entry.items()})


def records_topics(values: Mapping[str, Any]) -> tuple[RecordsTopic, ...]:
    """The record topics among the values of `read_options`; raises OptionsError when none was given."""
    require(values, ["records-topic"])
    require_schema(values)
    first = RecordsTopic(values["records_topic"], values.get("record_schema"), values.get("record_format", "avro"))
    return (first, *values.get("further_records", ()))


def read_runner_options(given: argparse.Namespace) -> list[str]:
    """The options for Beam and the runner in the configuration file, as command-line arguments."""
    value = _read_config(given.config).get(RUNNER_OPTIONS, [])
    if isinstance(value, Mapping):
        return [f"--{name}={content}" for name, content in value.items()]
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return value
    raise OptionsError(f"{given.config}: {RUNNER_OPTIONS} is neither a list of arguments nor a mapping")


def check_dashed_names(arguments: Sequence[str]) -> None:
    """Raises OptionsError for an argument whose name has dashes and therefore cannot be one of Beam's.

    Beam spells its options with underscores, so a misspelt option of ours can be reported without importing Beam, which
    takes seconds. `beam_pipeline.cli.beam_arguments` finds the other mistakes later.
    """
    for argument in arguments:
        name = argument.split("=")[0]
        if name.startswith("--") and "-" in name[2:] and name not in DASHED_BEAM_OPTIONS:
            near = suggestion(name, [f"--{one}" for one in OPTIONS] + list(DASHED_BEAM_OPTIONS))
            raise OptionsError(f"{name!r} is not an option of beam-serving or Beam{near}")


def require(values: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raises OptionsError when one of the named options was not given."""
    missing = [f"--{name}" for name in names if OPTIONS[name].field not in values]
    if missing:
        raise OptionsError(f"missing {', '.join(missing)} (on the command line or in the --config file)")


def serving_options(values: Mapping[str, Any], runner_arguments: Sequence[str]) -> ServingOptions:
    """The options of `run`; raises OptionsError when one is missing or two topics have the same name."""
    without_default = [
        one.name for one in fields(ServingOptions) if one.default is MISSING and one.default_factory is MISSING
    ]
    require(values, [name for name in RUN if OPTIONS[name].field in without_default])
    require_schema(values)
    options = ServingOptions(**values, runner_arguments=tuple(runner_arguments))
    topics = {
        **{_named(place): one.topic for place, one in enumerate(options.records_topics())},
        "models-topic": options.models_topic,
        "results-topic": options.results_topic,
        "dead-letter-topic": options.dead_letter_topic,
        "status-topic": options.status_topic,
        "shadow-topic": options.shadow_topic,
        "feedback-topic": options.feedback_topic,
        "payload-topic": options.payload_topic,
        "explain-topic": options.explain_topic,
        "drift-topic": options.drift_topic,
    }
    taken: dict[str, str] = {}
    for name, topic in topics.items():
        if topic is not None and topic in taken:
            raise OptionsError(f"--{name} and --{taken[topic]} are both {topic!r}; each needs a topic of its own")
        if topic is not None:
            taken[topic] = name
    return options


def _named(place: int) -> str:
    """The option or the list entry that names a records topic, for error messages."""
    return "records-topic" if place == 0 else f"{RECORDS}[{place}]"


def require_schema(values: Mapping[str, Any]) -> None:
    """Raises OptionsError when no record schema is named, and the record format cannot find it by itself."""
    if values.get("record_format") not in REGISTRY_FORMATS:
        require(values, ["record-schema"])


def named_record_type(values: Mapping[str, Any], records: RecordsTopic) -> RecordType:
    """The record type of a topic, or the one for all topics if its name is empty.

    Args:
      values: as `read_options` gives them, with the options `RECORD_TYPE`.
      records: the topic; if it names no schema, the latest one of its subject in the schema registry applies.

    Raises:
      SchemaError, OptionsError: there is no such schema, or an option is missing.
    """
    if not records.schema and not records.topic:
        require(values, ["record-schema"])
    return records.record_type(values.get("schema_registry"), values.get("schema_registry_config", {}))


def optional_record_type(values: Mapping[str, Any]) -> RecordType | None:
    """The record type that models are checked against; None when no record schema is named.

    Args:
      values: as `read_options` gives them, with the options `RECORD_TYPE`.

    Raises:
      SchemaError, OptionsError: there is no such schema, or an option is missing.
    """
    schema = values.get("record_schema")
    if schema is None:
        return None
    return named_record_type(values, RecordsTopic("", schema, values.get("record_format", "avro")))


def kafka_settings(values: Mapping[str, Any]) -> KafkaSettings:
    """The settings for connecting to the brokers, checked without connecting; raises OptionsError."""
    require(values, ["bootstrap-servers"])
    from models.kafka.client import KafkaSettings

    settings = KafkaSettings(values["bootstrap_servers"], values.get("kafka_config", {}))
    settings.check()
    return settings


def _read_config(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OptionsError(f"--config {path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise OptionsError(f"--config {path}: the file is not a mapping of options")
    for key in content:
        if key not in OPTIONS and key not in (RUNNER_OPTIONS, RECORDS):
            raise OptionsError(
                f"--config {path}: unknown key {key!r}{suggestion(str(key), [*OPTIONS, RUNNER_OPTIONS, RECORDS])}"
            )
    return content
