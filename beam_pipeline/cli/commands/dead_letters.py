"""`beam-serving dead-letters show|replay`: lists dead letters and puts repaired records back."""

from __future__ import annotations

import argparse
import base64
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beam_pipeline.cli.arguments import RECORD_TYPE, add_action, add_options, runs_until_stopped
from beam_pipeline.cli.option_values import (
    kafka_settings,
    named_record_type,
    read_options,
    records_topics,
    require,
    require_schema,
)
from beam_pipeline.logs import set_up_logs
from models.errors import OptionsError, TopicError

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

    from models.encoding.framing import MessageDecoder
    from models.kafka.client import KafkaSettings
    from models.records.codecs.base import RecordCodec
    from models.results.dead_letter import DeadLetter

_KAFKA = ("bootstrap-servers", "dead-letter-topic", "kafka-config")
_SHOW = (*_KAFKA, "schema-registry", "schema-registry-config")
_REPLAY = (*_KAFKA, "records-topic", *RECORD_TYPE)
_SHOWN_BYTES = 40
_FLUSH_SECONDS = 60.0
REPLAYED_HEADER = "replayed.from"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = add_action(actions, "show", "show the malformed messages, each with the reason")
    runs_until_stopped(show)
    add_options(show, _SHOW)
    show.add_argument("--follow", action="store_true", help="keep showing new letters until Ctrl-C")
    show.add_argument("--last", type=int, metavar="N", help="start N letters before the end of each partition")
    show.add_argument("--json", action="store_true", help="print one JSON object per line, with bytes in base64")
    replay = add_action(
        actions,
        "replay",
        "put records back that can now be decoded, possibly after --repair",
        "Put dead letters back into the records topic if they match the schema now, with the header "
        f"{REPLAYED_HEADER}. Letters that still do not match are reported and left alone. Each replayed letter is "
        "marked by a message in the dead-letter topic with its coordinates as key and no value, and --all skips marked "
        "letters. If replay is interrupted before the mark is written, the next replay puts the record back again.",
    )
    add_options(replay, _REPLAY)
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--all", action="store_true", help="replay all letters of the records topic that were not replayed before"
    )
    which.add_argument(
        "--coordinates",
        action="append",
        metavar="TOPIC-PARTITION-OFFSET",
        help="replay the letter of this record, even if it was replayed before; may be given repeatedly",
    )
    replay.add_argument("--again", action="store_true", help="with --all: also letters that were replayed before")
    replay.add_argument(
        "--repair", metavar="COMMAND", help="a command that reads a value from stdin and writes the repaired one"
    )
    replay.add_argument("--dry-run", action="store_true", help="only report what would be done")


def run(given: argparse.Namespace, rest: Sequence[str]) -> int:
    """Runs the action; see `command_line.Command`."""
    set_up_logs(quiet=True)
    if given.action == "show":
        values = read_options(given, _SHOW)
        require(values, ["dead-letter-topic"])
        for letter in _read(values, given.last, given.follow):
            if not isinstance(letter, str):
                print(_as_json(letter) if given.json else line(letter), flush=given.follow)
        return 0
    values = read_options(given, _REPLAY)
    require(values, ["dead-letter-topic", "records-topic"])
    require_schema(values)
    if given.again and not given.all:
        raise OptionsError("--again is for --all only: --coordinates replays a letter in any case")
    return _replay(given, values)


def line(letter: DeadLetter) -> str:
    """A dead letter on one line: its coordinates, the reason, and the first bytes of its value."""
    value = letter.value
    begins = "no value" if value is None else f"{len(value)} bytes {value[:_SHOWN_BYTES]!r}"
    return f"{letter.coordinates}  {letter.reason}  ({begins})"


@dataclass(frozen=True)
class _Letters:
    """The content of a dead-letter topic: letters by coordinates, and the coordinates of replayed letters."""

    by_coordinates: dict[str, DeadLetter]
    replayed: set[str]


def _read(values: Mapping[str, Any], last: int | None = None, follow: bool = False) -> Iterator[DeadLetter | str]:
    """Yields the dead letters, and the coordinates (as text) of each letter that was replayed."""
    from beam_pipeline.cli.topic_reading import read_topic
    from models.results.dead_letter import decode_dead_letter

    registered = registered_decoder(values)
    for message in read_topic(kafka_settings(values), values["dead_letter_topic"], last, follow):
        if message.value() is None and message.key() is not None:
            yield message.key().decode("utf-8", "backslashreplace")
            continue
        try:
            yield decode_dead_letter(message.value() or b"", registered)
        except ValueError as error:
            print(f"{message.topic()}-{message.partition()}@{message.offset()}: {error}", file=sys.stderr)


def registered_decoder(values: Mapping[str, Any]) -> MessageDecoder | None:
    """Reads letters that name their schema in the registry; None when no registry is named."""
    if "schema_registry" not in values:
        return None
    from models.records.registry import RegistrySettings, registry_options
    from models.records.registry_framing import RegistryFraming
    from models.schemas import bundled_schema

    named = registry_options(values["schema_registry"], values.get("schema_registry_config", {}))
    return RegistryFraming(RegistrySettings.from_options(named)).decoder(bundled_schema("dead_letter"))


def _all_letters(values: Mapping[str, Any]) -> _Letters:
    """The current content of the topic. A record that was rejected twice, because of a restart, is one letter."""
    found = _Letters({}, set())
    for one in _read(values):
        if isinstance(one, str):
            found.replayed.add(one)
        else:
            found.by_coordinates[one.coordinates] = one
    return found


def _wanted(given: argparse.Namespace, letters: _Letters, topics: set[str]) -> list[DeadLetter]:
    """The letters to replay; raises OptionsError when a letter given by its coordinates does not exist."""
    of_topic = {name: letter for name, letter in letters.by_coordinates.items() if letter.topic in topics}
    if given.all:
        return [letter for name, letter in of_topic.items() if given.again or name not in letters.replayed]
    named = dict.fromkeys(given.coordinates)
    missing = sorted(set(named) - set(of_topic))
    if missing:
        named_topics = ", ".join(map(repr, sorted(topics)))
        raise OptionsError(f"no dead letter of topic {named_topics} has the coordinates {', '.join(missing)}")
    return [of_topic[name] for name in named]


def _replay(given: argparse.Namespace, values: dict[str, Any]) -> int:
    kafka = kafka_settings(values)
    # Reads all letters before replaying any: a record that is put back may become a dead letter again meanwhile.
    letters = _all_letters(values)
    topics = {one.topic: named_record_type(values, one).codec for one in records_topics(values)}
    wanted = _wanted(given, letters, set(topics))
    return max(
        _replay_topic(given, _Outbox(kafka, topic, values["dead_letter_topic"]), codec, wanted)
        for topic, codec in topics.items()
    )


def _replay_topic(given: argparse.Namespace, outbox: _Outbox, codec: RecordCodec, letters: Sequence[DeadLetter]) -> int:
    """Puts back the letters of one records topic and returns the exit status."""
    left = 0
    for letter in letters:
        if letter.topic != outbox.topic:
            continue
        value, reason = _repaired(letter, given.repair, codec)
        if reason is not None:
            left += 1
            print(f"{letter.coordinates}: left: {reason}", file=sys.stderr)
        elif given.dry_run:
            print(f"{letter.coordinates}: would be put back")
        else:
            outbox.put(letter, value)
    outbox.flush()
    print(f"{outbox.put_back} put back into {outbox.topic!r}, {left} left")
    return 1 if left else 0


def _repaired(letter: DeadLetter, command: str | None, codec: RecordCodec) -> tuple[bytes | None, str | None]:
    """The value to put back, and the reason why it cannot be put back (None if it can)."""
    value = letter.value
    if command is not None:
        done = subprocess.run(shlex.split(command), input=value or b"", stdout=subprocess.PIPE, check=False)
        if done.returncode:
            return None, f"--repair exited with status {done.returncode}"
        value = done.stdout
    import pyarrow as pa

    return value, codec.decode(pa.array([value], pa.binary()), {0: letter.headers}).errors.get(0)


class _Outbox:
    """Puts records back, marks their letters as replayed, and counts the acknowledged ones."""

    def __init__(self, kafka: KafkaSettings, topic: str, letters_topic: str) -> None:
        self._producer = kafka.producer()
        self.topic = topic
        self._letters_topic = letters_topic
        self.put_back = 0

    def put(self, letter: DeadLetter, value: bytes | None) -> None:
        """Puts a record back, and marks its letter once the broker has acknowledged the record."""
        coordinates = letter.coordinates.encode()

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            _check(error, message)
            self.put_back += 1
            self._producer.produce(self._letters_topic, None, coordinates, on_delivery=_check)

        headers = [*letter.headers, (REPLAYED_HEADER, coordinates)]
        self._producer.produce(self.topic, value, letter.key, headers=headers, on_delivery=on_delivery)
        self._producer.poll(0)

    def flush(self) -> None:
        """Waits until everything is acknowledged; raises TopicError when something is not acknowledged in time."""
        deadline = time.monotonic() + _FLUSH_SECONDS
        # One flush may return before messages that its own delivery callbacks produced (the marks) are delivered.
        while self._producer.flush(max(0.0, deadline - time.monotonic())) or len(self._producer):
            if time.monotonic() > deadline:
                raise TopicError(
                    f"topic {self.topic!r}: the broker did not acknowledge all messages within {_FLUSH_SECONDS:g} s"
                )


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
