"""`beam-serving dead-letters show|replay`."""

from __future__ import annotations

import argparse
import base64
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from models.errors import OptionsError, TopicError

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

    from models.kafka.client import KafkaSettings
    from models.records.codecs.base import RecordCodec
    from models.results.dead_letter import DeadLetter

_SHOW = ("bootstrap-servers", "dead-letter-topic", "kafka-config")
_REPLAY = (*_SHOW, "records-topic", *RECORD_TYPE)
_SHOWN_BYTES = 40
_FLUSH_SECONDS = 60.0
REPLAYED_HEADER = "replayed.from"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="what was malformed, and why", allow_abbrev=False)
    runs_until_stopped(show)
    add_options(show, _SHOW)
    show.add_argument("--follow", action="store_true", help="go on with what comes, until Ctrl-C")
    show.add_argument("--last", type=int, metavar="N", help="begin N letters before each partition's end")
    show.add_argument("--json", action="store_true", help="one JSON object a line, with bytes in base64")
    replay = actions.add_parser(
        "replay",
        help="put records back that can be read (now, or after --repair)",
        description="Puts dead letters of the records topic back there, if they follow the schema now, with the "
        f"header {REPLAYED_HEADER}; those that still do not are reported and left. For each letter that was put back, "
        "a message with its key (its coordinates) and no value goes to the dead-letter topic: --all passes over such "
        "letters from then on. If replay ends between the two, the record is put back once more by the next.",
        allow_abbrev=False,
    )
    add_options(replay, _REPLAY)
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--all", action="store_true", help="all dead letters of the records topic that were not replayed before"
    )
    which.add_argument(
        "--coordinates",
        action="append",
        metavar="TOPIC-PARTITION-OFFSET",
        help="the letter of this record, replayed before or not; may be repeated",
    )
    replay.add_argument("--again", action="store_true", help="with --all: also those that were replayed before")
    replay.add_argument("--repair", metavar="COMMAND", help="gets the value on its stdin and gives the repaired one")
    replay.add_argument("--dry-run", action="store_true", help="only say what would be done")


def run(given: argparse.Namespace, rest: Sequence[str]) -> int:
    """Does the action; see `command_line.Command`."""
    set_up_logs(quiet=True)
    if given.action == "show":
        values = read_options(given, _SHOW)
        require(values, ["dead-letter-topic"])
        for letter in _read(kafka_settings(values), values["dead_letter_topic"], given.last, given.follow):
            if not isinstance(letter, str):
                print(_as_json(letter) if given.json else line(letter), flush=given.follow)
        return 0
    values = read_options(given, _REPLAY)
    require(values, ["dead-letter-topic", "records-topic"])
    require_schema(values)
    if given.again and not given.all:
        raise OptionsError("--again goes with --all: --coordinates replays what it names in any case")
    return _replay(given, values)


def line(letter: DeadLetter) -> str:
    """A dead letter on one line: where from, why, and how it begins."""
    value = letter.value
    begins = "no value" if value is None else f"{len(value)} bytes {value[:_SHOWN_BYTES]!r}"
    return f"{letter.coordinates}  {letter.reason}  ({begins})"


@dataclass(frozen=True)
class _Letters:
    """What a dead-letter topic holds: the letters by coordinates, and the coordinates of those replayed before."""

    by_coordinates: dict[str, DeadLetter]
    replayed: set[str]


def _read(
    kafka: KafkaSettings, topic: str, last: int | None = None, follow: bool = False
) -> Iterator[DeadLetter | str]:
    """The dead letters, and for each one that was replayed its coordinates."""
    from beam_pipeline.cli.topic_reading import read_topic
    from models.results.dead_letter import decode_dead_letter

    for message in read_topic(kafka, topic, last, follow):
        if message.value() is None and message.key() is not None:
            yield message.key().decode("utf-8", "backslashreplace")
            continue
        try:
            yield decode_dead_letter(message.value() or b"")
        except ValueError as error:
            print(f"{message.topic()}-{message.partition()}@{message.offset()}: {error}", file=sys.stderr)


def _all_letters(kafka: KafkaSettings, topic: str) -> _Letters:
    """What the topic holds now. A record that was rejected twice, after a restart, is one letter."""
    found = _Letters({}, set())
    for one in _read(kafka, topic):
        if isinstance(one, str):
            found.replayed.add(one)
        else:
            found.by_coordinates[one.coordinates] = one
    return found


def _wanted(given: argparse.Namespace, letters: _Letters, topic: str) -> list[DeadLetter]:
    """The letters of the records topic to replay; raises OptionsError when one that was named is not there."""
    of_topic = {name: letter for name, letter in letters.by_coordinates.items() if letter.topic == topic}
    if given.all:
        return [letter for name, letter in of_topic.items() if given.again or name not in letters.replayed]
    named = dict.fromkeys(given.coordinates)
    missing = sorted(set(named) - set(of_topic))
    if missing:
        raise OptionsError(f"no dead letter of topic {topic!r} has the coordinates {', '.join(missing)}")
    return [of_topic[name] for name in named]


def _replay(given: argparse.Namespace, values: dict[str, Any]) -> int:
    kafka, topic = kafka_settings(values), values["records_topic"]
    codec = named_record_type(values, topic).codec
    outbox = _Outbox(kafka, topic, values["dead_letter_topic"])
    left = 0
    # Read to the end first: what is put back may come again as a dead letter meanwhile.
    for letter in _wanted(given, _all_letters(kafka, values["dead_letter_topic"]), topic):
        value, reason = _repaired(letter, given.repair, codec)
        if reason is not None:
            left += 1
            print(f"{letter.coordinates}: left: {reason}", file=sys.stderr)
        elif given.dry_run:
            print(f"{letter.coordinates}: would be put back")
        else:
            outbox.put(letter, value)
    outbox.flush()
    print(f"{outbox.put_back} put back into {topic!r}, {left} left")
    return 1 if left else 0


def _repaired(letter: DeadLetter, command: str | None, codec: RecordCodec) -> tuple[bytes | None, str | None]:
    """The value to put back, or the reason why there is none."""
    value = letter.value
    if command is not None:
        done = subprocess.run(shlex.split(command), input=value or b"", stdout=subprocess.PIPE, check=False)
        if done.returncode:
            return None, f"--repair ended with status {done.returncode}"
        value = done.stdout
    import pyarrow as pa

    return value, codec.decode(pa.array([value], pa.binary()), {0: letter.headers}).errors.get(0)


class _Outbox:
    """Puts records back and marks their letters as replayed, and counts what was acknowledged."""

    def __init__(self, kafka: KafkaSettings, topic: str, letters_topic: str) -> None:
        self._producer = kafka.producer()
        self._topic = topic
        self._letters_topic = letters_topic
        self.put_back = 0

    def put(self, letter: DeadLetter, value: bytes | None) -> None:
        """Puts a record back; its letter is marked once the broker has acknowledged that."""
        coordinates = letter.coordinates.encode()

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            _check(error, message)
            self.put_back += 1
            self._producer.produce(self._letters_topic, None, coordinates, on_delivery=_check)

        headers = [*letter.headers, (REPLAYED_HEADER, coordinates)]
        self._producer.produce(self._topic, value, letter.key, headers=headers, on_delivery=on_delivery)
        self._producer.poll(0)

    def flush(self) -> None:
        """Waits until everything is acknowledged; raises TopicError when something is not."""
        deadline = time.monotonic() + _FLUSH_SECONDS
        # A flush need not wait for what its own callbacks have sent.
        while self._producer.flush(max(0.0, deadline - time.monotonic())) or len(self._producer):
            if time.monotonic() > deadline:
                raise TopicError(f"topic {self._topic!r}: the broker did not acknowledge all in {_FLUSH_SECONDS:g} s")


def _check(error: KafkaError | None, message: Message) -> None:
    if error is not None:
        raise TopicError(f"topic {message.topic()!r}: {error.str()}")


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
