"""`beam-serving results`: prints results to the console."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from beam_pipeline.cli.arguments import RECORD_TYPE, add_options, runs_until_stopped
from beam_pipeline.cli.option_values import (
    kafka_settings,
    named_record_type,
    read_options,
    records_topics,
    require,
    require_schema,
)
from beam_pipeline.logs import set_up_logs
from beam_pipeline.options import codec_options

if TYPE_CHECKING:
    from models.records.codecs.base import Embedding, RecordCodec

_OPTIONS = ("bootstrap-servers", "results-topic", "kafka-config", *RECORD_TYPE)
_SHOWN_VALUES = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    runs_until_stopped(parser)
    add_options(parser, _OPTIONS)
    parser.add_argument("--follow", action="store_true", help="keep showing new results until Ctrl-C")
    parser.add_argument("--last", type=int, metavar="N", help="start N results before the end of each partition")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line, with the message's key")


def run(given: argparse.Namespace, rest: Sequence[str]) -> int:
    """Prints results; see `command_line.Command`."""
    set_up_logs(quiet=True)
    values = read_options(given, _OPTIONS)
    require(values, ["results-topic"])
    require_schema(values)
    values.setdefault("records_topic", "")  # not needed: each result names the topic of its record
    kafka = kafka_settings(values)
    from beam_pipeline.cli.topic_reading import read_topic
    from models.results.decoder import ResultDecoder, decode_any, result_as_json
    from models.results.legible import legible_record

    codecs = record_codecs(values)
    decoders = [ResultDecoder(one) for one in result_embeddings(codecs, values)]
    any_codec = next(iter(codecs.values()), None)
    malformed = 0
    for message in read_topic(kafka, values["results_topic"], given.last, given.follow):
        try:
            result = decode_any(decoders, message.value() or b"")
        except ValueError as error:
            malformed += 1
            print(f"{message.topic()}-{message.partition()}@{message.offset()}: {error}", file=sys.stderr)
            continue
        key = _key(message.key())
        if given.json:
            result["inputRecord"] = legible_record(
                result["inputRecord"], codecs.get(result["modelResultMetadata"]["topic"], any_codec)
            )
            print(json.dumps({"key": key, **result_as_json(result)}), flush=given.follow)
        else:
            print(line(key, result), flush=given.follow)
    return 1 if malformed else 0


def record_codecs(values: dict[str, Any]) -> dict[str, RecordCodec]:
    """The codec of each topic's records, by topic; without topics whose results name the schema themselves."""
    named = (one for one in records_topics(values) if one.schema)
    return {one.topic: named_record_type(values, one).codec for one in named}


def result_embeddings(codecs: Mapping[str, RecordCodec], values: Mapping[str, Any]) -> list[Embedding]:
    """How records are embedded in the results; no schema is required if the results name it themselves."""
    if codecs:
        return [codec.embedding for codec in codecs.values()]
    from models.records.codecs.confluent_avro import results_embedding

    return [
        results_embedding(codec_options("", values.get("schema_registry"), values.get("schema_registry_config", {})))
    ]


def line(key: str | None, result: dict[str, Any]) -> str:
    """A result on one line: time, record, key, model, duration, and the outputs or the error."""
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
    shown = [_value(value) for value in values[:_SHOWN_VALUES]]
    return " ".join(shown) + (" ..." if len(values) > _SHOWN_VALUES else "")


def _value(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _key(key: bytes | None) -> str | None:
    return None if key is None else key.decode("utf-8", "backslashreplace")
