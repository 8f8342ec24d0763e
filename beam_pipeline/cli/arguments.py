"""The options that commands share, in one table, read from the command line and a configuration file.

The file (`--config serving.yaml`) may hold any option by its name without the leading dashes, so that it can describe a
whole deployment. The command line takes precedence over it.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beam_pipeline.options import (
    NO_ENGINES,
    REGISTRY_FORMATS,
    RecordsTopic,
    ServingOptions,
)
from models.errors import OptionsError
from models.records.codecs import CODEC_MODULES
from models.schemas import BUNDLED_RECORDS
from models.scorers import SCORER_MODULES

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


@dataclass(frozen=True)
class Option:
    """One option of the table.

    Attributes:
      name: the name without the leading dashes.
      help: the help text.
      choices: the allowed values; empty if any value is allowed.
      number: the smallest allowed value of a whole number; None for text.
      pairs: whether the option is given as K=V and may be repeated.
    """

    name: str
    help: str
    choices: tuple[str, ...] = ()
    number: int | None = None
    pairs: bool = False

    @property
    def field(self) -> str:
        """The attribute of `ServingOptions` that holds the value."""
        return self.name.replace("-", "_")

    @property
    def placeholder(self) -> str:
        """What stands for the value in a help text.

        >>> Option("records-topic", "the topic of records to score").placeholder
        'TOPIC'
        """
        if self.pairs:
            return "K=V"
        if self.number is not None:
            return "N"
        return "|".join(self.choices) or self.name.rpartition("-")[2].upper()

    def checked(self, value: object) -> Any:
        """Converts the value to the type of the attribute; raises OptionsError when the value is not allowed."""
        if self.pairs:
            return pairs(self.name, value)
        if self.number is not None:
            return self._whole_number(value)
        if not isinstance(value, str) or not value:
            raise OptionsError(f"--{self.name} {value!r} is not a text, or is empty")
        if self.choices and value not in self.choices:
            raise OptionsError(f"--{self.name} {value!r} is not one of {', '.join(self.choices)}")
        return value

    def _whole_number(self, value: object) -> int:
        try:
            number = int(str(value))
        except ValueError as error:
            raise OptionsError(f"--{self.name} {value!r} is not a whole number") from error
        if number < (self.number or 0):
            raise OptionsError(f"--{self.name} {number} is less than {self.number}")
        return number


OPTIONS = {
    option.name: option
    for option in (
        Option("bootstrap-servers", "the Kafka brokers to connect to, as HOST:PORT[,HOST:PORT...]"),
        Option("records-topic", "the topic of records to score"),
        Option("models-topic", "the topic of model descriptors; it must have one partition and be compacted"),
        Option("results-topic", "the topic for results"),
        Option("dead-letter-topic", "the topic for malformed records and descriptors, each with the reason"),
        Option("status-topic", "the topic for models' status events and statistics (default: neither is published)"),
        Option("shadow-topic", "the topic for the results of shadows (default: only their statistics are published)"),
        Option(
            "feedback-topic", "the topic of rewards for bandits and of labels for guarded candidates (default: neither)"
        ),
        Option(
            "record-schema",
            f"the Avro schema of the records: a file, or the name of a bundled one ({', '.join(BUNDLED_RECORDS)}); for "
            "tf-example a text proto of tensorflow_metadata, or derived:FILE to infer it from examples; for "
            "protobuf FILE#MESSAGE, a descriptor set and the full name of a message in it; for "
            "confluent-avro also subject:NAME in the schema registry (default: TOPIC-value, its latest version)",
        ),
        Option("record-format", "the encoding of records and results", tuple(CODEC_MODULES)),
        Option("schema-registry", "the address of the schema registry, for formats that use one"),
        Option(
            "schema-registry-config",
            "a setting of the schema registry's client, such as basic.auth.user.info=USER:PASSWORD",
            pairs=True,
        ),
        Option(
            "start",
            "where to start reading: earliest, latest, committed (the group's offset, or earliest if it has none), or "
            "a time in ISO 8601 or in milliseconds since 1970",
        ),
        Option(
            "on-gap",
            "what to do when the next records have expired or the topic was recreated: fail, or report the gap and "
            "continue",
            ("fail", "report"),
        ),
        Option("group", "the consumer group whose offsets are committed"),
        Option("max-batch", "maximum number of records in a batch", number=1),
        Option("max-batch-wait-ms", "poll interval for an idle partition, in milliseconds", number=0),
        Option(
            "on-update",
            "while a new version of a model loads: swap keeps scoring with the old one, wait holds records back",
            ("swap", "wait"),
        ),
        Option(
            "data-types",
            "the data types to score, as T[,T...]; models of other types are not loaded (default: all types that the "
            "schema allows)",
        ),
        Option(
            "models-timeout",
            "how many seconds a worker that cannot follow model updates keeps scoring with the models it has loaded; "
            "then it fails, so that the runner restarts it",
            number=0,
        ),
        Option(
            "model-wait",
            "how many seconds records wait at most for a model that they must be scored with: the one behind a fence, "
            "or one that was unloaded",
            number=0,
        ),
        Option(
            "model-memory",
            "how many megabytes the models of a worker process may take together; those used least recently are "
            "unloaded, and loaded again on demand (default: no limit)",
            number=1,
        ),
        Option("model-loads", "how many models a worker process loads at a time; one with --model-memory", number=1),
        Option(
            "engines",
            f"the model types whose engines a worker imports before its first record, separated by commas "
            f"({', '.join(SCORER_MODULES)}, and those of installed packages), or {NO_ENGINES}; other engines are "
            "imported with their first model",
        ),
        Option(
            "allow-pickle",
            "the pickles that may be loaded although loading one runs whatever code it contains, as a list of "
            "sha256:DIGEST, or names of models whose every version may be one, separated by commas (default: none)",
        ),
        Option(
            "result-key",
            "the key of a result: the record's key, or the record's coordinates TOPIC-PARTITION-OFFSET",
            ("record", "coordinates"),
        ),
        Option(
            "result-headers",
            "the headers of a result: those of the record, or those plus the attributes of a CloudEvent (ce_id, "
            "ce_source, ...)",
            ("record", "cloud-events"),
        ),
        Option(
            "dead-letter-format",
            "the encoding of dead letters: avro (single-object encoding), or confluent-avro (with the id of their "
            "schema in the schema registry, so that any Kafka tool can read them)",
            ("avro", "confluent-avro"),
        ),
        Option("kafka-config", "a librdkafka setting, such as security.protocol=SSL", pairs=True),
        Option("runner", "DirectRunner (on this machine, with Beam's Prism), FlinkRunner or DataflowRunner"),
    )
}

RECORD_TYPE = ("record-schema", "record-format", "schema-registry", "schema-registry-config")
CONNECTION = ("bootstrap-servers", "kafka-config")
RUN = tuple(OPTIONS)


def add_options(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Adds --config and the named options to a command's parser."""
    parser.add_argument("--config", metavar="FILE", help="a YAML file with options, by name")
    defaults = {one.name: one.default for one in fields(ServingOptions)}
    for name in names:
        option = OPTIONS[name]
        default = defaults[option.field]
        repeated = "; may be given repeatedly" if option.pairs else ""
        default_text = f" (default: {default})" if isinstance(default, (str, int)) else ""
        parser.add_argument(
            f"--{name}",
            dest=option.field,
            metavar=option.placeholder,
            action="append" if option.pairs else "store",
            help=option.help.replace("%", "%%") + repeated + default_text,
        )


def add_action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str, description: str = ""
) -> argparse.ArgumentParser:
    """Adds an action, such as `models publish`, to a command.

    Args:
      actions: the subparsers of the command.
      name: the word that selects the action.
      summary: what the action does, for the command's list of actions.
      description: the text above the action's own help; by default the summary as a sentence.
    """
    return actions.add_parser(name, help=summary, description=description or as_sentence(summary), allow_abbrev=False)


def as_sentence(summary: str) -> str:
    """A summary as a sentence.

    >>> as_sentence("stage a Dataflow template")
    'Stage a Dataflow template.'
    """
    return f"{summary[:1].upper()}{summary[1:]}."


def runs_until_stopped(parser: argparse.ArgumentParser) -> None:
    """Declares that a command runs until a signal ends it, so that ending by a signal is a success."""
    parser.set_defaults(until_stopped=True)


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
    """The values that the list `records` of a configuration file stands for; empty when there is no such list."""
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
    """The record type of a topic, or of no topic in particular ("").

    Args:
      values: as `read_options` gives them, with the options `RECORD_TYPE`.
      records: the topic; a schema that it leaves out is the latest of its subject in the schema registry.

    Raises:
      SchemaError, OptionsError: when there is no such schema, or an option is missing.
    """
    if not records.schema and not records.topic:
        require(values, ["record-schema"])
    return records.record_type(values.get("schema_registry"), values.get("schema_registry_config", {}))


def optional_record_type(values: Mapping[str, Any]) -> RecordType | None:
    """The record type that models are checked against; None when no record schema is named.

    Args:
      values: as `read_options` gives them, with the options `RECORD_TYPE`.

    Raises:
      SchemaError, OptionsError: when there is no such schema, or an option is missing.
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


def suggestion(name: str, known: Sequence[str]) -> str:
    """A hint at the most similar known name; empty when none is similar.

    >>> suggestion("max-btach", ["max-batch", "group"])
    "; did you mean 'max-batch'?"
    """
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def pairs(name: str, value: object) -> dict[str, str]:
    """Parses a list of K=V, or a mapping, into a dictionary; raises OptionsError for an entry that is not K=V.

    >>> pairs("kafka-config", ["security.protocol=SSL", "ssl.ca.location=/ca.pem"])
    {'security.protocol': 'SSL', 'ssl.ca.location': '/ca.pem'}
    """
    if isinstance(value, Mapping):
        return {str(key): _text(content) for key, content in value.items()}
    read = {}
    for one in value if isinstance(value, list) else [value]:
        key, equals, content = str(one).partition("=")
        if not equals or not key:
            raise OptionsError(f"--{name} {one!r} is not K=V")
        read[key] = content
    return read


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
