"""`beam-serving explain`: shows what contributed to the answer in a result."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from beam_pipeline.cli.argument_values import count_named, message_named
from beam_pipeline.cli.arguments import RECORD_TYPE, add_options
from beam_pipeline.cli.commands.results import record_codecs, result_embeddings
from beam_pipeline.cli.option_values import (
    kafka_settings,
    named_record_type,
    read_options,
    require,
    require_schema,
)
from beam_pipeline.logs import set_up_logs
from beam_pipeline.options import RecordsTopic
from models.errors import ExplanationError

_OPTIONS = ("bootstrap-servers", "models-topic", "kafka-config", "allow-pickle", "explain-output", *RECORD_TYPE)
_METHODS = ("auto", "integrated-gradients", "permutation")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    parser.description = (
        "Show what contributed to the answer in a result. The version of the model that gave it is loaded again, and "
        "called with the record in the result and with mixtures of it and other records."
    )
    parser.add_argument(
        "--result", required=True, metavar="TOPIC:PARTITION:OFFSET", help="the result, by its place in its topic"
    )
    parser.add_argument(
        "--method",
        choices=_METHODS,
        default="auto",
        help="integrated gradients of SavedModels, or permutations of the inputs of any model (default: auto, the "
        "first where possible)",
    )
    parser.add_argument(
        "--background",
        default="32",
        metavar="N",
        help="how many recent records of the topic stand in for the record; 0 for zeros (default: 32)",
    )
    parser.add_argument("--top", default="20", metavar="N", help="how many contributions are shown (default: 20)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, with all contributions")
    add_options(parser, _OPTIONS)


def run(given: argparse.Namespace, rest: Sequence[str]) -> int:
    """Explains one result; see `command_line.Command`."""
    set_up_logs(quiet=True)
    topic, partition, offset = message_named("result", given.result)
    background, top = count_named("background", given.background), count_named("top", given.top, 1)
    values = read_options(given, _OPTIONS)
    require(values, ["models-topic"])
    require_schema(values)
    values.setdefault("records_topic", "")  # not needed: the result names the topic of its record
    kafka = kafka_settings(values)
    from beam_pipeline.explanation.one_message import read_message
    from beam_pipeline.explanation.run import Question, explain_result
    from models.artifacts.pickles import AllowedPickles
    from models.explaining.explainer import ExplainerSettings
    from models.results.decoder import ResultDecoder, decode_any

    message = read_message(kafka, topic, partition, offset)
    codecs = record_codecs(values)
    decoders = [ResultDecoder(one) for one in result_embeddings(codecs, values)]
    try:
        result = decode_any(decoders, message.value() or b"")
    except ValueError as error:
        raise ExplanationError(f"the message {given.result} is not a result: {error}") from error
    answer = explain_result(
        kafka,
        values["models_topic"],
        Question(
            result,
            _codec(values, codecs, result["modelResultMetadata"]["topic"]),
            # A fixed order of permutations, so that the command repeats itself.
            ExplainerSettings(values.get("explain_output"), given.method, seed=0, background=max(1, background)),
            background,
            AllowedPickles.parse(values.get("allow_pickle")),
        ),
    )
    if not answer.repeated:
        print(
            f"the result has {answer.answered}, but the model now answers {answer.explanation.attributions.prediction}",
            file=sys.stderr,
        )
    if given.json:
        print(json.dumps(answer.explanation.as_dict()))
    else:
        from beam_pipeline.cli.tables import print_table
        from beam_pipeline.explanation.report import explanation_table

        print_table(explanation_table(answer, top))
    return 0


def _codec(values: dict[str, Any], codecs: dict[str, Any], topic: str) -> Any:
    """The codec of the record's topic; without a named topic, the one that all topics have."""
    found = codecs.get(topic, codecs.get(""))
    if found is not None:
        return found
    if codecs:
        raise ExplanationError(f"the record is of topic {topic!r}, which is none of {', '.join(sorted(codecs))}")
    return named_record_type(values, RecordsTopic(topic, None, values.get("record_format", "avro"))).codec
