"""The options that commands share: one table, a command line and a configuration file.

A file `--config serving.yaml` can hold every option by its name without the dashes, so that it is the blueprint of a
deployment; what is given on the command line wins.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beam_pipeline.options import NO_ENGINES, REGISTRY_FORMATS, ServingOptions, codec_options, latest_schema_of
from models.errors import OptionsError
from models.records.codecs import CODEC_MODULES
from models.schemas import BUNDLED_RECORDS
from models.scorers import SCORER_MODULES

if TYPE_CHECKING:
    from models.kafka.client import KafkaSettings
    from models.records.record_type import RecordType

RUNNER_OPTIONS = "runner-options"

# Options of Beam and of the runners that are written with dashes; all others have underscores (a test compares).
DASHED_BEAM_OPTIONS = ("--job-server-timeout", "--flink-master", "--savepoint-on-stop")


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
      name: without the dashes.
      help: one sentence.
      choices: the values there are; empty: any.
      number: the value is a whole number of at least this; None: it is text.
      pairs: it is given as K=V, again and again.
    """

    name: str
    help: str
    choices: tuple[str, ...] = ()
    number: int | None = None
    pairs: bool = False

    @property
    def field(self) -> str:
        """The attribute of `ServingOptions`."""
        return self.name.replace("-", "_")

    def checked(self, value: object) -> Any:
        """The value as the attribute wants it; raises OptionsError when it cannot be."""
        if self.pairs:
            return pairs(self.name, value)
        if self.number is not None:
            return self._whole_number(value)
        if not isinstance(value, str) or not value:
            raise OptionsError(f"--{self.name} {value!r} is no text, or empty")
        if self.choices and value not in self.choices:
            raise OptionsError(f"--{self.name} {value!r} is none of {', '.join(self.choices)}")
        return value

    def _whole_number(self, value: object) -> int:
        try:
            number = int(str(value))
        except ValueError as error:
            raise OptionsError(f"--{self.name} {value!r} is no whole number") from error
        if number < (self.number or 0):
            raise OptionsError(f"--{self.name} {number} is below {self.number}")
        return number


OPTIONS = {
    option.name: option
    for option in (
        Option("bootstrap-servers", "the Kafka brokers, HOST:PORT[,HOST:PORT...]"),
        Option("records-topic", "the topic to score"),
        Option("models-topic", "the topic of model descriptors: one partition, compacted"),
        Option("results-topic", "where results go"),
        Option("dead-letter-topic", "where malformed records and descriptors go, with the reason"),
        Option("status-topic", "where models' status events and statistics go (default: nowhere)"),
        Option(
            "record-schema",
            f"the Avro schema of the records: a file, or a bundled one ({', '.join(BUNDLED_RECORDS)}); with "
            "--record-format confluent-avro also subject:NAME, the latest of that subject of the schema registry "
            "(left out: of TOPIC-value)",
        ),
        Option("record-format", "the encoding of records and results", tuple(CODEC_MODULES)),
        Option("schema-registry", "the address of the schema registry, for formats that use one"),
        Option(
            "schema-registry-config",
            "a setting of the schema registry's client, may be repeated (basic.auth.user.info=USER:PASSWORD ...)",
            pairs=True,
        ),
        Option(
            "start",
            "where to begin: earliest, latest, committed (the group's offset, else earliest), or a moment in ISO 8601 "
            "or in milliseconds",
        ),
        Option("on-gap", "when the records to go on with have expired, or the topic was made anew", ("fail", "report")),
        Option("group", "the consumer group that offsets are committed to"),
        Option("max-batch", "records in a list at most", number=1),
        Option("max-batch-wait-ms", "how long a partition that is read to its end rests", number=0),
        Option(
            "on-update",
            "while a new model loads: swap lets the old one serve, wait lets the records wait",
            ("swap", "wait"),
        ),
        Option(
            "data-types",
            "the data types to score, T[,T...]: models of other ones are not loaded (default: all that the schema can "
            "have)",
        ),
        Option(
            "models-timeout",
            "seconds for which records are scored with the loaded models once updates can no longer be followed; then "
            "the worker fails, so that the runner restarts it",
            number=0,
        ),
        Option(
            "engines",
            "the model types whose engines a worker imports when it starts, before the first record, separated by "
            f"commas ({', '.join(SCORER_MODULES)}), or {NO_ENGINES}; any other engine is imported with its first model",
        ),
        Option(
            "result-key",
            "a result's key: the record's key, or its coordinates TOPIC-PARTITION-OFFSET",
            ("record", "coordinates"),
        ),
        Option("kafka-config", "a setting of librdkafka, again and again (security.protocol=SSL ...)", pairs=True),
        Option("runner", "DirectRunner (this machine, with Beam's Prism), FlinkRunner or DataflowRunner"),
    )
}

RECORD_TYPE = ("record-schema", "record-format", "schema-registry", "schema-registry-config")
CONNECTION = ("bootstrap-servers", "kafka-config")
RUN = tuple(OPTIONS)


def add_options(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Adds --config and the options of these names to a command's parser."""
    parser.add_argument("--config", metavar="FILE", help="a YAML file that holds options by their names")
    defaults = {one.name: one.default for one in fields(ServingOptions)}
    for name in names:
        option = OPTIONS[name]
        default = defaults[option.field]
        said = f" (default: {default})" if isinstance(default, (str, int)) else ""
        parser.add_argument(
            f"--{name}",
            dest=option.field,
            metavar="K=V" if option.pairs else ("|".join(option.choices) or None),
            action="append" if option.pairs else "store",
            help=option.help.replace("%", "%%") + said,
        )


def runs_until_stopped(parser: argparse.ArgumentParser) -> None:
    """Declares that what this parser parses ends only at a signal: that is then no failure."""
    parser.set_defaults(until_stopped=True)


def read_options(given: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """The options of these names, from the command line and the configuration file, checked one by one.

    Raises:
      OptionsError: when the file cannot be read or has an unknown key, or a value is malformed.
    """
    values: dict[str, Any] = {}
    for key, value in _read_config(given.config).items():
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


def read_runner_options(given: argparse.Namespace) -> list[str]:
    """The Beam options of the configuration file, as arguments."""
    value = _read_config(given.config).get(RUNNER_OPTIONS, [])
    if isinstance(value, Mapping):
        return [f"--{name}={content}" for name, content in value.items()]
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return value
    raise OptionsError(f"{given.config}: {RUNNER_OPTIONS} is neither a list of arguments nor a mapping")


def check_dashed_names(arguments: Sequence[str]) -> None:
    """Raises OptionsError for an argument that is none of Beam's by the dashes in its name.

    Beam's own options are written with underscores: a misspelt option of ours is so found without Beam, whose import
    takes seconds (`beam_pipeline.cli.beam_arguments` then finds the rest).
    """
    for argument in arguments:
        name = argument.split("=")[0]
        if name.startswith("--") and "-" in name[2:] and name not in DASHED_BEAM_OPTIONS:
            near = suggestion(name, [f"--{one}" for one in OPTIONS] + list(DASHED_BEAM_OPTIONS))
            raise OptionsError(f"{name!r} is no option of beam-serving and none of Beam{near}")


def require(values: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raises OptionsError when one of these options was given nowhere."""
    missing = [f"--{name}" for name in names if OPTIONS[name].field not in values]
    if missing:
        raise OptionsError(f"missing: {', '.join(missing)} (on the command line, or in the file of --config)")


def serving_options(values: Mapping[str, Any], runner_arguments: Sequence[str]) -> ServingOptions:
    """All options of `run`; raises OptionsError when one is missing or two contradict each other."""
    without_default = [
        one.name for one in fields(ServingOptions) if one.default is MISSING and one.default_factory is MISSING
    ]
    require(values, [name for name in RUN if OPTIONS[name].field in without_default])
    require_schema(values)
    options = ServingOptions(**values, runner_arguments=tuple(runner_arguments))
    topics = {
        "records-topic": options.records_topic,
        "models-topic": options.models_topic,
        "results-topic": options.results_topic,
        "dead-letter-topic": options.dead_letter_topic,
        "status-topic": options.status_topic,
    }
    taken: dict[str, str] = {}
    for name, topic in topics.items():
        if topic is not None and topic in taken:
            raise OptionsError(f"--{name} and --{taken[topic]} are both {topic!r}; each needs a topic of its own")
        if topic is not None:
            taken[topic] = name
    return options


def require_schema(values: Mapping[str, Any]) -> None:
    """Raises OptionsError when no record schema is named, and the record format cannot find it by itself."""
    if values.get("record_format") not in REGISTRY_FORMATS:
        require(values, ["record-schema"])


def named_record_type(values: Mapping[str, Any], topic: str | None) -> RecordType:
    """The record type of the options `RECORD_TYPE`.

    Args:
      values: as `read_options` gives them.
      topic: of the records.

    Raises:
      SchemaError, OptionsError: when there is no such schema, or something is missing.
    """
    from models.records.record_type import RecordType

    name = values.get("record_schema") or (latest_schema_of(topic) if topic is not None else "")
    if not name:
        require(values, ["record-schema"])
    options = codec_options(topic, values.get("schema_registry"), values.get("schema_registry_config", {}))
    return RecordType.named(name, values.get("record_format", "avro"), options)


def kafka_settings(values: Mapping[str, Any]) -> KafkaSettings:
    """The brokers, checked as far as it goes without asking them; raises OptionsError."""
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
        raise OptionsError(f"--config {path}: it is no mapping of options")
    for key in content:
        if key not in OPTIONS and key != RUNNER_OPTIONS:
            raise OptionsError(
                f"--config {path}: unknown key {key!r}{suggestion(str(key), [*OPTIONS, RUNNER_OPTIONS])}"
            )
    return content


def suggestion(name: str, known: Sequence[str]) -> str:
    """A hint at the known name that is nearest; empty when none is near.

    >>> suggestion("max-btach", ["max-batch", "group"])
    "; did you mean 'max-batch'?"
    """
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def pairs(name: str, value: object) -> dict[str, str]:
    """What was given as K=V, or as a mapping; raises OptionsError when something is not K=V.

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
