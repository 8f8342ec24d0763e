"""The options that commands share, in one table; `option_values` reads and checks their values."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from beam_pipeline.options import NO_ENGINES, ServingOptions
from models.errors import OptionsError
from models.records.codecs import CODEC_MODULES
from models.schemas import BUNDLED_RECORDS
from models.scorers import SCORER_MODULES

SWITCH = ("on", "off")


@dataclass(frozen=True)
class Option:
    """One option of the table.

    Attributes:
      name: the name without the leading dashes.
      help: the help text.
      choices: the allowed values; empty if any value is allowed.
      number: the smallest allowed value of a whole number; None for text.
      pairs: whether the option is given as K=V and may be repeated.
      share: whether the option is a number from 0 to 1.
    """

    name: str
    help: str
    choices: tuple[str, ...] = ()
    number: int | None = None
    pairs: bool = False
    share: bool = False

    @property
    def field(self) -> str:
        """The attribute of `ServingOptions` that holds the value."""
        return self.name.replace("-", "_")

    @property
    def placeholder(self) -> str:
        """The placeholder for the value in a help text.

        >>> Option("records-topic", "the topic of records to score").placeholder
        'TOPIC'
        """
        if self.pairs:
            return "K=V"
        if self.number is not None:
            return "N"
        if self.share:
            return "SHARE"
        return "|".join(self.choices) or self.name.rpartition("-")[2].upper()

    def checked(self, value: object) -> Any:
        """Converts the value to the type of the attribute; raises OptionsError when the value is not allowed."""
        if self.pairs:
            return pairs(self.name, value)
        if self.number is not None:
            return self._whole_number(value)
        if self.share:
            return self._share(value)
        if isinstance(value, bool) and self.choices == SWITCH:  # YAML reads on and off as booleans
            return SWITCH[0] if value else SWITCH[1]
        if not isinstance(value, str) or not value:
            raise OptionsError(f"--{self.name} {value!r} is not text, or is empty")
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

    def _share(self, value: object) -> float:
        try:
            share = float(str(value))
        except ValueError as error:
            raise OptionsError(f"--{self.name} {value!r} is not a number") from error
        if not 0 <= share <= 1:
            raise OptionsError(f"--{self.name} {share:g} is not between 0 and 1")
        return share


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
            "the number of seconds that a worker keeps scoring with its loaded models while it cannot follow model "
            "updates; then it fails, so that the runner restarts it",
            number=0,
        ),
        Option(
            "model-wait",
            "the maximum number of seconds that records wait for the model that must score them: one behind a fence, "
            "or one that was unloaded",
            number=0,
        ),
        Option(
            "model-memory",
            "the maximum memory in megabytes for all models of a worker process; the least recently used ones are "
            "unloaded, and loaded again on demand (default: no limit)",
            number=1,
        ),
        Option(
            "model-loads", "how many models a worker process loads at a time; only one with --model-memory", number=1
        ),
        Option(
            "engines",
            f"the model types whose engines a worker imports before its first record, separated by commas "
            f"({', '.join(SCORER_MODULES)}, and those of installed packages), or {NO_ENGINES}; other engines are "
            "imported with their first model",
        ),
        Option(
            "allow-pickle",
            "the pickles that may be loaded, because loading one runs any code that it contains: sha256:DIGEST for a "
            "single one, or the name of a model for all its versions, separated by commas (default: none)",
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
        Option(
            "metrics-port",
            "the port of a page with metrics for Prometheus, on every interface of each worker process; 0 for any free "
            "port (default: no page)",
            number=0,
        ),
        Option(
            "payload-share",
            "the share of records whose requests and answers are logged to --payload-folder, --payload-topic or both, "
            "from 0 (none) to 1 (all)",
            share=True,
        ),
        Option(
            "payload-folder",
            "the folder for files with sampled requests and answers, as TFRecords of "
            "tensorflow.serving.PredictionLog: a local path, or gs://, s3://, hdfs:// or azfs:// (default: no files)",
        ),
        Option(
            "payload-topic", "the topic for sampled requests and answers, as CloudEvents with JSON (default: no events)"
        ),
        Option("payload-seconds", "how long payloads are added to a file, in seconds", number=1),
        Option("payload-megabytes", "the size in megabytes above which no more payloads are added to a file", number=1),
        Option(
            "openlineage-url",
            "the address of an OpenLineage endpoint, such as http://marquez:5000, to which workers report their runs "
            "with the versions of models (default: none)",
        ),
        Option(
            "otlp-endpoint",
            "the base address of a receiver of OTLP over HTTP, such as http://localhost:4318, for metrics and for the "
            "traces of records; headers and more come from OpenTelemetry's environment variables (default: none)",
        ),
        Option(
            "trace-share",
            "the share, from 0 to 1, of the records without a trace context with which a trace begins; a record that "
            "has one (the header traceparent) is traced if its trace is sampled",
            share=True,
        ),
        Option(
            "explain-share",
            "the share of the records whose answers are explained beside the scoring, to --explain-topic, from 0 "
            "(none) to 1 (all)",
            share=True,
        ),
        Option("explain-topic", "the topic for explanations (default: nothing is explained)"),
        Option(
            "explain-output",
            "the output to explain; of several values, the highest one (default: the first output of floating-point "
            "numbers)",
        ),
        Option(
            "outliers",
            "whether results contain how far a record is from those that the model usually gets; only versions with a "
            "baseline have scores",
            SWITCH,
        ),
        Option(
            "drift-topic",
            "the topic for drift events; workers exchange sketches of features and outputs in TOPIC-sketches (default: "
            "drift is not watched)",
        ),
        Option("drift-window", "the number of seconds after which records are compared with the baseline", number=1),
        Option("drift-min-records", "the least number of sampled records that are compared together", number=1),
        Option("runner", "DirectRunner (on this machine, with Beam's Prism), FlinkRunner or DataflowRunner"),
    )
}

RECORD_TYPE = ("record-schema", "record-format", "schema-registry", "schema-registry-config")
CONNECTION = ("bootstrap-servers", "kafka-config")
RUN = tuple(OPTIONS)


def add_options(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Adds --config and the named options to a command's parser."""
    parser.add_argument("--config", metavar="FILE", help="a YAML file with options")
    defaults = {one.name: one.default for one in fields(ServingOptions)}
    for name in names:
        option = OPTIONS[name]
        default = defaults[option.field]
        repeated = "; may be given repeatedly" if option.pairs else ""
        default_text = f" (default: {default})" if isinstance(default, (str, int, float)) else ""
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
