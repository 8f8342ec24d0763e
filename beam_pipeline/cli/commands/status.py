"""`beam-serving status`: prints the state and the statistics of each model, and the state of each worker."""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from beam_pipeline.cli.arguments import add_options, runs_until_stopped
from beam_pipeline.cli.option_values import kafka_settings, read_options, require
from beam_pipeline.logs import set_up_logs
from models.errors import OptionsError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from models.kafka.client import KafkaSettings
    from models.model_topic.publisher import ListedVersion
    from models.model_topic.reader import TopicState
    from models.status.model_status import ModelStatus, StatusFold, WorkerStatus

_OPTIONS = ("bootstrap-servers", "models-topic", "status-topic", "kafka-config")
_REFRESH_SECONDS = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    runs_until_stopped(parser)
    add_options(parser, _OPTIONS)
    parser.add_argument("--deployment", metavar="GROUP", help="show only the workers of this consumer group")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object per model version, and one per worker, which has the field worker",
    )
    shown.add_argument("--watch", action="store_true", help="keep the tables current until Ctrl-C")


def run(given: argparse.Namespace, rest: Sequence[str]) -> int:
    """Prints the status of all models; see `command_line.Command`."""
    set_up_logs(quiet=True)
    values = read_options(given, _OPTIONS)
    require(values, ["models-topic", "status-topic"])
    kafka = kafka_settings(values)
    from models.status.model_status import StatusFold

    fold = StatusFold(given.deployment)
    if given.watch:
        if not sys.stdout.isatty():
            raise OptionsError("--watch needs a terminal; programs call status --json repeatedly")
        return _watch(kafka, values, fold)
    from beam_pipeline.cli.tables import print_table
    from beam_pipeline.cli.topic_reading import read_topic

    for message in read_topic(kafka, values["status_topic"]):
        fold.add(message.value() or b"")
    with closing(ModelsTopic(kafka, values["models_topic"])) as topic:
        status = topic.status(fold)
    if given.json:
        for line in status.lines():
            print(line)
    else:
        print_table(status.tables())
    for event in fold.stopped():
        print(
            f"worker {event.worker} of {event.deployment!r} no longer follows the models topic: {event.error}",
            file=sys.stderr,
        )
    if fold.notice:
        print(fold.notice, file=sys.stderr)
    return 0


@dataclass(frozen=True)
class _Status:
    """The status at a time, in milliseconds since 1970-01-01 UTC."""

    models: list[ModelStatus]
    workers: list[WorkerStatus]
    at: int

    def lines(self) -> list[str]:
        """A JSON object for each model version and each worker."""
        models, workers = map(asdict, self.models), map(asdict, self.workers)
        return [json.dumps(one) for one in (*models, *workers)]

    def tables(self) -> RenderableType:
        """What `beam-serving status` prints."""
        from beam_pipeline.cli.status_tables import status_tables

        return status_tables(self.models, self.workers, self.at)


class ModelsTopic:
    """The published versions, of which each look reads only what is new.

    Args:
      kafka: the brokers.
      topic: the models topic.
    """

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        from models.model_topic.catalog import ModelCatalog
        from models.model_topic.reader import ModelsTopicReader

        self._reader = ModelsTopicReader(kafka, topic)
        self._catalog = ModelCatalog()
        self._topic_id = ""

    def close(self) -> None:
        """Closes the connections."""
        self._reader.close()

    def status(self, fold: StatusFold) -> _Status:
        """The status of all versions and workers, by the events of a fold; raises as `versions` does."""
        versions, topic = self.versions()
        now = time.time_ns() // 1_000_000
        return _Status(fold.statuses(versions), fold.workers(topic.end, topic.topic_id, now), now)

    def versions(self) -> tuple[list[ListedVersion], TopicState]:
        """All published versions, and the state of the topic.

        Raises:
          KafkaUnreachableError, ModelsTopicError: the topic cannot be read.
        """
        from models.model_topic.catalog import ModelCatalog
        from models.model_topic.publisher import listed_versions

        topic = self._reader.look()
        if topic.topic_id != self._topic_id or topic.end < self._catalog.position:  # it was recreated
            self._catalog, self._topic_id = ModelCatalog(), topic.topic_id
        # Like a publisher, it waits for transactions that are just committed.
        self._reader.catch_up(self._catalog, self._reader.written_end())
        return listed_versions(self._catalog), topic


def _watch(kafka: KafkaSettings, values: Mapping[str, Any], fold: StatusFold) -> int:
    """Shows the tables until the command is interrupted."""
    from rich.console import Group
    from rich.live import Live

    from beam_pipeline.cli.tables import literal_console
    from beam_pipeline.cli.topic_reading import read_topic

    lock, failed = threading.Lock(), threading.Event()
    errors: list[Exception] = []

    def follow() -> None:
        try:
            for message in read_topic(kafka, values["status_topic"], follow=True):
                with lock:
                    fold.add(message.value() or b"")
        except Exception as error:
            errors.append(error)
            failed.set()

    threading.Thread(target=follow, name="status", daemon=True).start()
    with (
        closing(ModelsTopic(kafka, values["models_topic"])) as topic,
        Live(console=literal_console(), auto_refresh=False) as live,
    ):
        while not failed.wait(_REFRESH_SECONDS):
            with lock:
                tables, notice = topic.status(fold).tables(), fold.notice
            live.update(Group(tables, notice), refresh=True)
    raise errors[0]
