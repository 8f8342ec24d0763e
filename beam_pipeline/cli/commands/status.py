"""`beam-serving status`: prints the state and the statistics of each model."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from beam_pipeline.cli.arguments import add_options
from beam_pipeline.cli.option_values import kafka_settings, read_options, require
from beam_pipeline.logs import set_up_logs

if TYPE_CHECKING:
    from rich.table import Table

    from beam_pipeline.cli.model_status import ModelStatus

_OPTIONS = ("bootstrap-servers", "models-topic", "status-topic", "kafka-config")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    add_options(parser, _OPTIONS)
    parser.add_argument("--deployment", metavar="GROUP", help="show only the workers of this consumer group")
    parser.add_argument("--json", action="store_true", help="print one JSON object per model version")


def run(given: argparse.Namespace, rest: Sequence[str]) -> int:
    """Prints the status of all models; see `command_line.Command`."""
    set_up_logs(quiet=True)
    values = read_options(given, _OPTIONS)
    require(values, ["models-topic", "status-topic"])
    kafka = kafka_settings(values)
    from beam_pipeline.cli.model_status import StatusFold
    from beam_pipeline.cli.tables import print_table
    from beam_pipeline.cli.topic_reading import read_topic
    from models.model_topic.publisher import ModelPublisher

    fold = StatusFold(given.deployment)
    for message in read_topic(kafka, values["status_topic"]):
        fold.add(message.value() or b"")
    statuses = fold.statuses(ModelPublisher(kafka, values["models_topic"]).versions())
    if given.json:
        for status in statuses:
            print(json.dumps(asdict(status)))
    else:
        print_table(table(statuses))
    for event in fold.stopped():
        print(
            f"worker {event.worker} of {event.deployment!r} no longer follows the models topic: {event.error}",
            file=sys.stderr,
        )
    return 0


def table(statuses: list[ModelStatus]) -> Table:
    """A table with a row for each version in each deployment; durations are in milliseconds."""
    from rich import box
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("name", overflow="fold", min_width=10)
    for column in ("version", "state", "since", "usage", "average", "min", "max", "errors"):
        shown.add_column(column, no_wrap=True, justify="left" if column in ("state", "since") else "right")
    several = len({one.deployment for one in statuses}) > 1
    if several:
        shown.add_column("deployment", overflow="fold")
    shown.add_column("description", overflow="fold")
    for one in statuses:
        since = "" if one.since is None else f"{datetime.datetime.fromtimestamp(one.since / 1000):%H:%M:%S}"
        durations = [f"{value:.2f}" for value in (one.average, one.minimum, one.maximum)]
        shown.add_row(
            one.name,
            str(one.version),
            one.state,
            since,
            str(one.usage),
            *(durations if one.usage else ["", "", ""]),
            str(one.errors),
            *([one.deployment] if several else []),
            one.last_error or one.description or "",
        )
    return shown
