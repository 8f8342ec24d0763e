"""`beam-serving generate records|models`: the generators of the reference system."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from beam_pipeline.cli.arguments import RECORD_TYPE, add_action, add_options, runs_until_stopped
from beam_pipeline.cli.commands.models import add_model_arguments, check_model_arguments, draft_from
from beam_pipeline.cli.option_values import (
    kafka_settings,
    named_record_type,
    optional_record_type,
    read_options,
    records_topics,
    require,
)
from beam_pipeline.logs import set_up_logs, without_start_lines
from beam_pipeline.options import RecordsTopic
from beam_pipeline.publishing.record_generators import GENERATORS
from models.errors import OptionsError, PublishError, TopicError
from models.scorers import prepare_engines

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

_RECORDS = ("bootstrap-servers", "records-topic", "kafka-config", *RECORD_TYPE[1:])
_MODELS = ("bootstrap-servers", "models-topic", "kafka-config", "allow-pickle", *RECORD_TYPE)
_TICK_SECONDS = 0.002
_PROGRESS_SECONDS = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    runs_until_stopped(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    records = add_action(actions, "records", "send generated records at a steady rate")
    add_options(records, _RECORDS)
    records.add_argument(
        "--schema", required=True, choices=sorted(GENERATORS), help="the bundled schema of the records"
    )
    rates = ", ".join(f"{name} {one.rate:g}" for name, one in GENERATORS.items())
    records.add_argument("--rate", type=float, metavar="R", help=f"records per second (default: {rates})")
    records.add_argument("--count", type=int, metavar="N", help="stop after N records (default: at Ctrl-C)")
    records.add_argument(
        "--seed", type=int, metavar="N", default=0, help="the same seed generates the same records (default: 0)"
    )
    models = add_action(actions, "models", "publish models in rotation")
    add_options(models, _MODELS)
    add_model_arguments(models)
    models.add_argument("--every", type=float, required=True, metavar="S", help="seconds between two publications")
    models.add_argument("--count", type=int, metavar="N", help="stop after N publications (default: at Ctrl-C)")
    models.add_argument("paths", nargs="+", metavar="PATH", help="the models to publish in rotation")


def run(given: argparse.Namespace, rest: Sequence[str]) -> int:
    """Generates until the count is reached or until Ctrl-C; see `command_line.Command`."""
    set_up_logs(quiet=True)
    if given.count is not None and given.count < 1:
        raise OptionsError(f"--count {given.count} is less than 1")
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
        raise OptionsError(f"--rate {rate:g} is not greater than 0")
    records = _destination(values, given.schema)
    codec = named_record_type(values, records).codec
    stream = _PacedStream(kafka_settings(values).producer(), records.topic, rate, given.count)
    try:
        stream.run((one.key, codec.encode(one.row)) for one in generator.records(given.seed))
    finally:
        stream.end()
    return 0


def _destination(values: dict[str, Any], schema: str) -> RecordsTopic:
    """The topic of generated records: in a list of topics, the one with that schema."""
    if not values.get("further_records"):
        return RecordsTopic(values["records_topic"], schema, values.get("record_format", "avro"))
    listed = {one.schema: one for one in records_topics(values)}
    if schema not in listed:
        raise OptionsError(f"--schema {schema}: no topic of the list of records has that schema; give --records-topic")
    return listed[schema]


class _PacedStream:
    """Sends messages at a steady rate.

    The number of messages that are due follows from the time since the start, so a delay is caught up and the average
    rate holds.
    """

    def __init__(self, producer: Producer, topic: str, rate: float, count: int | None) -> None:
        self._producer = producer
        self._topic = topic
        self._rate = rate
        self._count = count
        self._sent = 0
        self._failed: KafkaError | None = None
        self._reported = time.monotonic()

    def run(self, messages: Any) -> None:
        """Sends until the count is reached, and reports the progress every few seconds."""
        start = time.monotonic()
        while self._count is None or self._sent < self._count:
            due = int((time.monotonic() - start) * self._rate) + 1
            due = due if self._count is None else min(due, self._count)
            for key, value in itertools.islice(messages, max(0, due - self._sent)):
                self._send(key, value)
            self._report_progress()
            time.sleep(_TICK_SECONDS)

    def end(self) -> None:
        """Waits until all messages are acknowledged; raises TopicError when one is not."""
        left = self._producer.flush(30.0)
        print(f"{self._sent - left} records sent to {self._topic!r}", file=sys.stderr)
        if self._failed is not None or left:
            reason = self._failed.str() if self._failed else "the broker did not acknowledge all records within 30 s"
            raise TopicError(f"topic {self._topic!r}: {reason}")

    def _send(self, key: bytes, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(self._topic, value, key, on_delivery=self._on_delivery)
                break
            except BufferError:  # the producer's queue is full: wait for deliveries, then try again
                self._producer.poll(0.05)
        self._sent += 1
        self._producer.poll(0)

    def _on_delivery(self, error: KafkaError | None, _: Message) -> None:
        self._failed = error or self._failed

    def _report_progress(self) -> None:
        if time.monotonic() - self._reported >= _PROGRESS_SECONDS:
            self._reported = time.monotonic()
            print(f"{self._sent} records sent to {self._topic!r}", file=sys.stderr)


def _generate_models(given: argparse.Namespace, values: dict[str, Any]) -> int:
    if given.every < 0:
        raise OptionsError(f"--every {given.every:g} is less than 0")
    check_model_arguments(given)
    from beam_pipeline.publishing.drafts import check_draft, draft_descriptor
    from models.artifacts.pickles import AllowedPickles
    from models.model_topic.publisher import ModelPublisher

    topic = ModelPublisher(kafka_settings(values), values["models_topic"])
    record_type = optional_record_type(values)
    drafts = [draft_from(given, path) for path in given.paths]
    descriptors = [draft_descriptor(draft) for draft in drafts]
    with without_start_lines():
        prepare_engines([given.type])
    pickles = AllowedPickles.parse(values.get("allow_pickle"))
    for draft, descriptor in zip(drafts, descriptors, strict=True):
        check_draft(draft, descriptor, record_type, pickles)
    due = time.monotonic()
    for number, (draft, descriptor) in enumerate(itertools.cycle(zip(drafts, descriptors, strict=True))):
        if given.count is not None and number >= given.count:
            break
        time.sleep(max(0.0, due - time.monotonic()))
        due += given.every
        try:
            published = topic.publish(descriptor)
        except PublishError as error:  # for example, another publisher was faster: the next turn tries again
            print(f"beam-serving generate models: {error}", file=sys.stderr)
            continue
        print(f"{published.model_name}: version {published.model_version} is live, from {draft.path}", flush=True)
    return 0
