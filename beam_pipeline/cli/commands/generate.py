"""`beam-serving generate records|models`: the reference system's generators."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from beam_pipeline.cli.arguments import (
    RECORD_TYPE,
    add_options,
    kafka_settings,
    named_record_type,
    read_options,
    require,
    runs_until_stopped,
)
from beam_pipeline.cli.commands.models import add_model_arguments, check_model_arguments, draft_from
from beam_pipeline.cli.logs import set_up_logs, without_start_lines
from beam_pipeline.publishing.record_generators import GENERATORS
from models.errors import OptionsError, PublishError, TopicError
from models.scorers import prepare_engines

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

_RECORDS = ("bootstrap-servers", "records-topic", "kafka-config", *RECORD_TYPE[1:])
_MODELS = ("bootstrap-servers", "models-topic", "record-schema", "kafka-config")
_TICK_SECONDS = 0.002
_PROGRESS_SECONDS = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    runs_until_stopped(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    records = actions.add_parser("records", help="records at a steady rate", allow_abbrev=False)
    add_options(records, _RECORDS)
    records.add_argument("--schema", required=True, choices=sorted(GENERATORS), help="what records to make")
    rates = ", ".join(f"{name} {one.rate:g}" for name, one in GENERATORS.items())
    records.add_argument("--rate", type=float, metavar="R", help=f"records a second (default: {rates})")
    records.add_argument("--count", type=int, metavar="N", help="end after N records (default: at Ctrl-C)")
    records.add_argument("--seed", type=int, default=0, help="the same seed gives the same records (default: 0)")
    models = actions.add_parser("models", help="publish models in turns", allow_abbrev=False)
    add_options(models, _MODELS)
    add_model_arguments(models)
    models.add_argument("--every", type=float, required=True, metavar="S", help="seconds between two publications")
    models.add_argument("--count", type=int, metavar="N", help="end after N publications (default: at Ctrl-C)")
    models.add_argument("paths", nargs="+", metavar="PATH", help="SavedModels: the versions take turns")


def run(given: argparse.Namespace, rest: Sequence[str]) -> int:
    """Generates until the count is reached or Ctrl-C; see `command_line.Command`."""
    set_up_logs(quiet=True)
    if given.count is not None and given.count < 1:
        raise OptionsError(f"--count {given.count} is below 1")
    if given.action == "records":
        values = read_options(given, _RECORDS)
        require(values, ["records-topic"])
        return _generate_records(given, values)
    values = read_options(given, _MODELS)
    require(values, ["models-topic"])
    return _generate_models(given, values)


def _generate_records(given: argparse.Namespace, values: dict[str, Any]) -> int:
    generator = GENERATORS[given.schema]
    rate = generator.rate if given.rate is None else given.rate
    if rate <= 0:
        raise OptionsError(f"--rate {rate:g} is not above 0")
    codec = named_record_type({**values, "record_schema": given.schema}, values["records_topic"]).codec
    stream = _PacedStream(kafka_settings(values).producer(), values["records_topic"], rate, given.count)
    try:
        stream.run((one.key, codec.encode(one.row)) for one in generator.records(given.seed))
    finally:
        stream.end()
    return 0


class _PacedStream:
    """Sends messages at a steady rate, by the clock."""

    def __init__(self, producer: Producer, topic: str, rate: float, count: int | None) -> None:
        self._producer = producer
        self._topic = topic
        self._rate = rate
        self._count = count
        self._sent = 0
        self._failed: KafkaError | None = None
        self._told = time.monotonic()

    def run(self, messages: Any) -> None:
        """Sends until the count is reached."""
        start = time.monotonic()
        while self._count is None or self._sent < self._count:
            due = int((time.monotonic() - start) * self._rate) + 1
            due = due if self._count is None else min(due, self._count)
            for key, value in itertools.islice(messages, max(0, due - self._sent)):
                self._send(key, value)
            self._tell()
            time.sleep(_TICK_SECONDS)

    def end(self) -> None:
        """Waits until what was sent is acknowledged; raises TopicError when something is not."""
        left = self._producer.flush(30.0)
        print(f"{self._sent - left} records sent to {self._topic!r}", file=sys.stderr)
        if self._failed is not None or left:
            reason = self._failed.str() if self._failed else "the broker did not acknowledge all in 30 s"
            raise TopicError(f"topic {self._topic!r}: {reason}")

    def _send(self, key: bytes, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(self._topic, value, key, on_delivery=self._on_delivery)
                break
            except BufferError:
                self._producer.poll(0.05)
        self._sent += 1
        self._producer.poll(0)

    def _on_delivery(self, error: KafkaError | None, _: Message) -> None:
        self._failed = error or self._failed

    def _tell(self) -> None:
        if time.monotonic() - self._told >= _PROGRESS_SECONDS:
            self._told = time.monotonic()
            print(f"{self._sent} records sent to {self._topic!r}", file=sys.stderr)


def _generate_models(given: argparse.Namespace, values: dict[str, Any]) -> int:
    if given.every < 0:
        raise OptionsError(f"--every {given.every:g} is below 0")
    check_model_arguments(given)
    from beam_pipeline.publishing.drafts import check_draft, draft_descriptor
    from models.model_topic.publisher import ModelsTopic
    from models.records.record_type import RecordType

    topic = ModelsTopic(kafka_settings(values), values["models_topic"])
    record_type = RecordType.named(values["record_schema"]) if "record_schema" in values else None
    drafts = [draft_from(given, path) for path in given.paths]
    descriptors = [draft_descriptor(draft) for draft in drafts]
    with without_start_lines():
        prepare_engines([given.type])
    for draft, descriptor in zip(drafts, descriptors, strict=True):
        check_draft(draft, descriptor, record_type)
    due = time.monotonic()
    for number, (draft, descriptor) in enumerate(itertools.cycle(zip(drafts, descriptors, strict=True))):
        if given.count is not None and number >= given.count:
            break
        time.sleep(max(0.0, due - time.monotonic()))
        due += given.every
        try:
            published = topic.publish(descriptor)
        except PublishError as error:  # another publisher at work: the next turn tries again
            print(f"beam-serving generate models: {error}", file=sys.stderr)
            continue
        print(f"{published.model_name}: version {published.model_version} is live, from {draft.path}", flush=True)
    return 0
