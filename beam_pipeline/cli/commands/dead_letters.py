"""`beam-serving dead-letters show|replay`."""

from __future__ import annotations

import argparse
import base64
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from confluent_kafka import KafkaError, Message

from beam_pipeline.cli.arguments import add_options, kafka_settings, read_options, require
from beam_pipeline.cli.logs import set_up_logs
from beam_pipeline.cli.topic_reading import read_topic
from models.encoding.dead_letter import DeadLetter, decode_dead_letter
from models.errors import OptionsError, TopicError
from models.kafka.client import KafkaSettings
from models.records.schema import RecordSchema

_SHOW = ("bootstrap-servers", "dead-letter-topic", "kafka-config")
_REPLAY = (*_SHOW, "records-topic", "record-schema", "record-format")
_SHOWN_BYTES = 40
REPLAYED_HEADER = "replayed.from"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="what was malformed, and why", allow_abbrev=False)
    add_options(show, _SHOW)
    show.add_argument("--follow", action="store_true", help="go on with what comes, until Ctrl-C")
    show.add_argument("--last", type=int, metavar="N", help="begin N letters before each partition's end")
    show.add_argument("--json", action="store_true", help="one JSON object a line, with bytes in base64")
    replay = actions.add_parser(
        "replay",
        help="put records back that can be read (now, or after --repair)",
        description="Puts dead letters of the records topic back there, if they follow the schema now, with the "
        f"header {REPLAYED_HEADER}. Those that still do not are told and left.",
        allow_abbrev=False,
    )
    add_options(replay, _REPLAY)
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="all dead letters of the records topic")
    which.add_argument(
        "--coordinates", action="append", metavar="TOPIC-PARTITION-OFFSET", help="these, again and again"
    )
    replay.add_argument("--repair", metavar="COMMAND", help="gets the value on its stdin and gives the repaired one")
    replay.add_argument("--dry-run", action="store_true", help="only say what would be done")


def run(given: argparse.Namespace, rest: Sequence[str]) -> int:
    """Does the action; see `command_line.Command`."""
    set_up_logs(quiet=True)
    if given.action == "show":
        values = read_options(given, _SHOW)
        require(values, ["dead-letter-topic"])
        for letter in _letters(kafka_settings(values), values["dead_letter_topic"], given.last, given.follow):
            print(_as_json(letter) if given.json else line(letter), flush=given.follow)
        return 0
    values = read_options(given, _REPLAY)
    require(values, ["dead-letter-topic", "records-topic", "record-schema"])
    return _replay(given, values)


def line(letter: DeadLetter) -> str:
    """A dead letter on one line: where from, why, and how it begins."""
    value = letter.value
    begins = "no value" if value is None else f"{len(value)} bytes {value[:_SHOWN_BYTES]!r}"
    return f"{letter.coordinates}  {letter.reason}  ({begins})"


def _letters(kafka: KafkaSettings, topic: str, last: int | None = None, follow: bool = False) -> Iterator[DeadLetter]:
    for message in read_topic(kafka, topic, last, follow):
        try:
            yield decode_dead_letter(message.value() or b"")
        except ValueError as error:
            print(f"{message.topic()}-{message.partition()}@{message.offset()}: {error}", file=sys.stderr)


def _replay(given: argparse.Namespace, values: dict[str, Any]) -> int:
    kafka, topic = kafka_settings(values), values["records_topic"]
    schema = RecordSchema.named(values["record_schema"], values.get("record_format", "avro"))
    wanted = set(given.coordinates or ())
    found: set[str] = set()
    outbox = _Outbox(kafka, topic)
    left = 0
    # Collected first: what is put back may come again as a dead letter while this reads.
    for letter in list(_letters(kafka, values["dead_letter_topic"])):
        if letter.topic != topic or (wanted and letter.coordinates not in wanted):
            continue
        found.add(letter.coordinates)
        value, reason = _repaired(letter, given.repair, schema)
        if reason is not None:
            left += 1
            print(f"{letter.coordinates}: left: {reason}", file=sys.stderr)
        elif given.dry_run:
            print(f"{letter.coordinates}: would be put back")
        else:
            outbox.put(letter, value)
    outbox.flush()
    if wanted - found:
        raise OptionsError(f"no dead letter of topic {topic!r} has the coordinates {', '.join(sorted(wanted - found))}")
    print(f"{outbox.put_back} put back into {topic!r}, {left} left")
    return 1 if left else 0


def _repaired(letter: DeadLetter, command: str | None, schema: RecordSchema) -> tuple[bytes | None, str | None]:
    """The value to put back, or the reason why there is none."""
    value = letter.value
    if command is not None:
        done = subprocess.run(shlex.split(command), input=value or b"", stdout=subprocess.PIPE, check=False)
        if done.returncode:
            return None, f"--repair ended with status {done.returncode}"
        value = done.stdout
    return value, schema.decode([value]).errors.get(0)


class _Outbox:
    """Puts records back, and says what was acknowledged."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._producer = kafka.producer()
        self._topic = topic
        self.put_back = 0

    def put(self, letter: DeadLetter, value: bytes | None) -> None:
        headers = [*letter.headers, (REPLAYED_HEADER, letter.coordinates.encode())]
        self._producer.produce(self._topic, value, letter.key, headers=headers, on_delivery=self._on_delivery)
        self._producer.poll(0)

    def flush(self) -> None:
        """Waits until everything is acknowledged; raises TopicError when something is not."""
        if self._producer.flush(60.0):
            raise TopicError(f"topic {self._topic!r}: the broker did not acknowledge all in 60 s")

    def _on_delivery(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            raise TopicError(f"topic {self._topic!r}: {error.str()}")
        self.put_back += 1


def _as_json(letter: DeadLetter) -> str:
    def text(content: bytes | None) -> str | None:
        return None if content is None else base64.b64encode(content).decode()

    return json.dumps(
        {
            "reason": letter.reason,
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
            "timestamp": letter.timestamp,
            "key": text(letter.key),
            "value": text(letter.value),
            "headers": [[name, text(value)] for name, value in letter.headers],
            "rejectedAt": letter.rejected_at,
        }
    )
