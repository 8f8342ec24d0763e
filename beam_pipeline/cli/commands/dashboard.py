"""`beam-serving dashboard`: a page in the browser that shows what is served."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beam_pipeline.cli.arguments import RECORD_TYPE, add_options, runs_until_stopped
from beam_pipeline.cli.commands.dead_letters import registered_decoder
from beam_pipeline.cli.commands.results import record_codecs, result_embeddings
from beam_pipeline.cli.option_values import kafka_settings, read_options, records_topics, require, require_schema
from beam_pipeline.logs import set_up_logs
from models.errors import OptionsError
from models.extras import extras_named

if TYPE_CHECKING:
    from beam_pipeline.dashboard.settings import DashboardSettings, Reading, Token

_OPTIONS = (
    "bootstrap-servers",
    "records-topic",
    "models-topic",
    "results-topic",
    "dead-letter-topic",
    "status-topic",
    "drift-topic",
    "kafka-config",
    *RECORD_TYPE,
    "allow-pickle",
)
# What `models publish` needs; the models topic is added to it.
_PUBLISH_OPTIONS = ("bootstrap-servers", "kafka-config", *RECORD_TYPE, "allow-pickle")
TOKEN_VARIABLE = "BEAM_SERVING_DASHBOARD_TOKEN"
_SHORTEST_TOKEN = 16
PORT = 8090


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    runs_until_stopped(parser)
    add_options(parser, _OPTIONS)
    parser.add_argument("--deployment", metavar="GROUP", help="show only the workers of this consumer group")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=PORT, metavar="N", help=f"the port (default: {PORT}; 0: any)")
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name by which browsers reach this page, such as that of a proxy; may be given repeatedly",
    )
    parser.add_argument(
        "--actions",
        action="store_true",
        help="let people who know the token publish, promote and roll back models; the token is the content of "
        f"--token-file, or the value of {TOKEN_VARIABLE}",
    )
    parser.add_argument("--token-file", metavar="FILE", help="a file with the token, of at least 16 characters")


def run(given: argparse.Namespace, rest: Sequence[str]) -> int:
    """Serves the page until Ctrl-C; see `command_line.Command`."""
    set_up_logs(quiet=True)
    values = read_options(given, _OPTIONS)
    require(values, ["models-topic", "results-topic"])
    require_schema(values)
    text = _token_text(given)
    if not 0 <= given.port < 65_536:
        raise OptionsError(f"--port {given.port} is not a port")
    with extras_named():
        from beam_pipeline.dashboard.server import serve
    settings = _settings(given, values, text)
    serve(settings, given.host, given.port, lambda address: print(f"Dashboard: {address}", flush=True))
    return 0


def _settings(given: argparse.Namespace, values: dict[str, Any], text: str | None) -> DashboardSettings:
    from beam_pipeline.dashboard.settings import DashboardSettings, Token, Topics

    records = tuple(one.topic for one in records_topics(values)) if "records_topic" in values else ()
    topics = Topics(
        values["models_topic"],
        values["results_topic"],
        values.get("dead_letter_topic"),
        values.get("status_topic"),
        values.get("drift_topic"),
        records,
    )
    token: Token | None = None if text is None else Token.of(text)
    return DashboardSettings(
        kafka_settings(values),
        topics,
        _reading(values),
        given.deployment,
        token,
        _publish_options(values),
        (given.host, *given.allowed_host),
    )


def _reading(values: dict[str, Any]) -> Reading:
    from beam_pipeline.dashboard.settings import Reading
    from models.results.decoder import ResultDecoder

    # Without a records topic there is one record type, and its codec is known by the empty name.
    codecs = record_codecs({"records_topic": "", **values})
    decoders = tuple(ResultDecoder(one) for one in result_embeddings(codecs, values))
    return Reading(decoders, codecs, registered_decoder(values))


def _publish_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `models publish` as in a configuration file."""
    fields = {name: name.replace("-", "_") for name in _PUBLISH_OPTIONS}
    return {name: values[field] for name, field in fields.items() if field in values}


def _token_text(given: argparse.Namespace) -> str | None:
    """The token; None if actions are off. Raises OptionsError if it is missing, too short, or readable by others."""
    if not given.actions:
        if given.token_file is not None:
            raise OptionsError("--token-file needs --actions, which the token allows")
        return None
    text = os.environ.get(TOKEN_VARIABLE, "") if given.token_file is None else _file_content(given.token_file)
    if not text:
        raise OptionsError(f"--actions needs a token: give --token-file FILE, or set {TOKEN_VARIABLE}")
    if len(text) < _SHORTEST_TOKEN:
        raise OptionsError(f"the token has {len(text)} characters; at least {_SHORTEST_TOKEN} are needed")
    return text


def _file_content(name: str) -> str:
    try:
        path = Path(name)
        if path.stat().st_mode & 0o077:
            raise OptionsError(f"--token-file {name}: other users can read it; run `chmod 600 {name}`")
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionsError(f"--token-file {name}: {error}") from error
