"""`beam-serving results`: the console of results."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from beam_pipeline.cli.arguments import (
    RECORD_TYPE,
    add_options,
    kafka_settings,
    named_record_type,
    read_options,
    require,
    require_schema,
    runs_until_stopped,
)
from beam_pipeline.cli.logs import set_up_logs
from beam_pipeline.options import REGISTRY_FORMATS, codec_options

if TYPE_CHECKING:
    from models.records.codecs.base import Embedding

_OPTIONS = ("bootstrap-servers", "results-topic", "kafka-config", *RECORD_TYPE)
_SHOWN_VALUES = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    runs_until_stopped(parser)
    add_options(parser, _OPTIONS)
    parser.add_argument("--follow", action="store_true", help="go on with what comes, until Ctrl-C")
    parser.add_argument("--last", type=int, metavar="N", help="begin N results before each partition's end")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, with the message's key")


def run(given: argparse.Namespace, rest: Sequence[str]) -> int:
    """Prints results; see `command_line.Command`."""
    set_up_logs(quiet=True)
    values = read_options(given, _OPTIONS)
    require(values, ["results-topic"])
    require_schema(values)
    kafka = kafka_settings(values)
    from beam_pipeline.cli.topic_reading import read_topic
    from models.results.decoder import ResultDecoder, result_as_json

    decoder = ResultDecoder(_embedding(values))
    malformed = 0
    for message in read_topic(kafka, values["results_topic"], given.last, given.follow):
        try:
            result = decoder.decode(message.value() or b"")
        except ValueError as error:
            malformed += 1
            print(f"{message.topic()}-{message.partition()}@{message.offset()}: {error}", file=sys.stderr)
            continue
        key = _key(message.key())
        print(
            json.dumps({"key": key, **result_as_json(result)}) if given.json else line(key, result), flush=given.follow
        )
    return 1 if malformed else 0


def _embedding(values: dict[str, Any]) -> Embedding:
    """How the records stand in the results; where results name their schema themselves, no other is asked for."""
    if "record_schema" in values or values.get("record_format") not in REGISTRY_FORMATS:
        return named_record_type(values, None).codec.embedding
    from models.records.codecs.confluent_avro import results_embedding

    options = codec_options(None, values.get("schema_registry"), values.get("schema_registry_config", {}))
    return results_embedding(options)


def line(key: str | None, result: dict[str, Any]) -> str:
    """A result on one line: when, where from, the model, in what time, the outputs or the error."""
    metadata = result["modelResultMetadata"]
    moment = datetime.datetime.fromtimestamp(metadata["startTime"] / 1e6, datetime.timezone.utc)
    where = f"{metadata['topic']}-{metadata['partition']}@{metadata['offset']}"
    version = "" if metadata["modelVersion"] is None else f"/{metadata['modelVersion']}"
    model = "no model" if metadata["modelName"] is None else f"{metadata['modelName']}{version}"
    took = f"{metadata['duration'] / 1000:.1f} ms for {metadata['batchSize']}"
    outcome = f"ERROR {metadata['errors']}" if metadata["errors"] is not None else _outputs(result["outputs"])
    return f"{moment:%H:%M:%S.%f}  {where}  key={key}  {model}  {took}  {outcome}"


def _outputs(outputs: dict[str, Any]) -> str:
    return "  ".join(f"{name}{tensor['shape']}={_values(tensor['values'])}" for name, tensor in outputs.items())


def _values(values: list[Any]) -> str:
    shown = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values[:_SHOWN_VALUES]]
    return " ".join(shown) + (" ..." if len(values) > _SHOWN_VALUES else "")


def _key(key: bytes | None) -> str | None:
    return None if key is None else key.decode("utf-8", "backslashreplace")
