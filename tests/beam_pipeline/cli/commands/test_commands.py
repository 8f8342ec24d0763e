"""The commands against a real broker, without a pipeline; tests/end_to_end covers them with one."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from beam_pipeline.cli.command_line import main
from models.columns.outputs import RecordOutputs
from models.columns.scored import ModelCall, ModelIdentity
from models.kafka.client import KafkaSettings
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.publisher import ModelPublisher
from models.records.record_type import RecordType
from models.records.registry import RegistrySettings
from models.records.registry_framing import RegistryFraming
from models.results.dead_letter import DeadLetter, DeadLetterTopic, decode_dead_letter, encode_dead_letter
from models.results.encoder import Origin, ResultEncoder
from models.status.events import ModelStatistics, StatusEvent
from runners.local.embedded_broker import EmbeddedBroker
from runners.local.kafka_broker import LocalBroker
from runners.local.schema_registry import LocalSchemaRegistry
from tests.conftest import MakeTopic
from tests.saved_models import save_recommender, save_version_model

RECORD = {"user": 5, "products": [1, 2], "dataType": "recommender"}


@pytest.fixture
def kafka(broker: LocalBroker) -> KafkaSettings:
    return KafkaSettings(broker.bootstrap_servers)


@dataclass(frozen=True)
class Cli:
    """Runs commands with a configuration file that names the topics of one test."""

    config: str
    topics: dict[str, str]

    def __call__(self, *words: str) -> int:
        return main([*words, "--config", self.config])


@pytest.fixture
def command(kafka: KafkaSettings, tmp_path: Path, topic_names: Callable[[str], str]) -> Cli:
    topics = {f"{name}-topic": topic_names(name) for name in ("records", "models", "results", "dead-letter", "status")}
    config = {"bootstrap-servers": kafka.bootstrap_servers, "record-schema": "recommender", **topics}
    path = tmp_path / "serving.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    return Cli(str(path), topics)


def send(kafka: KafkaSettings, topic: str, *messages: tuple[bytes | None, bytes]) -> None:
    producer = kafka.producer()
    for key, value in messages:
        producer.produce(topic, value, key)
    assert producer.flush(30.0) == 0


def read_all(
    kafka: KafkaSettings, topic: str, count: int
) -> list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]:
    consumer = kafka.consumer("test")
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]] = []
    deadline = time.monotonic() + 30.0
    while len(found) < count and time.monotonic() < deadline:
        found += [(m.key(), m.value(), m.headers() or []) for m in consumer.consume(100, 0.2) if m.error() is None]
    consumer.close()
    return found


def end_of(kafka: KafkaSettings, topic: str) -> int:
    """The number of messages that were ever written to a topic of one partition."""
    consumer = kafka.consumer("test")
    try:
        _, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30.0)
    finally:
        consumer.close()
    return int(high)


def test_publish_list_rollback_and_retire(command: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish = [
        "models",
        "publish",
        "--name",
        "recommender",
        "--type",
        "tensorflow-saved-model",
        "--input",
        "users=user",
    ]
    folder = str(save_recommender(tmp_path / "model"))
    assert command(*publish, "--path", folder, "--description", "first") == 0
    assert command(*publish, "--path", folder, "--inline") == 0
    assert "recommender: version 2 is live, for 'recommender' records" in capsys.readouterr().out
    assert command("models", "list") == 0
    listed = capsys.readouterr().out
    assert "previous" in listed
    assert "first" in listed
    assert "in the topic, offset" in listed
    assert command("models", "rollback", "recommender") == 0
    assert "recommender: version 1 is live" in capsys.readouterr().out
    assert command("models", "retire", "recommender") == 0
    assert command("models", "retire", "recommender") == 1
    assert "already retired" in capsys.readouterr().err
    assert command("models", "rollback", "recommender", "--to", "9") == 1
    assert "existing versions: 1, 2" in capsys.readouterr().err


@pytest.mark.parametrize("record_format", ["confluent-avro", "json-schema"])
def test_publish_checks_the_inputs_against_a_record_schema_also_where_records_need_a_registry(
    command: Cli, tmp_path: Path, record_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    publish = ["models", "publish", "--name", "recommender", "--type", "tensorflow-saved-model"]
    publish += ["--path", str(save_recommender(tmp_path / "model")), "--record-format", record_format]
    assert command(*publish, "--input", "users=user") == 2
    assert "missing: --schema-registry" in capsys.readouterr().err
    publish += ["--schema-registry", "http://127.0.0.1:9"]  # a named schema is not looked up there
    assert command(*publish, "--input", "users=usr") == 1
    assert "'usr'" in capsys.readouterr().err
    assert command(*publish, "--input", "users=user") == 0


def test_publish_refuses_what_cannot_be(command: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish = ["models", "publish", "--name", "m", "--type", "tensorflow-saved-model"]
    assert command(*publish, "--path", str(tmp_path / "nothing")) == 2
    assert "the file or folder does not exist" in capsys.readouterr().err
    assert command(*publish, "--location", str(tmp_path), "--inline") == 2
    assert "--inline needs --path" in capsys.readouterr().err
    assert command(*publish, "--path", str(tmp_path), "--input", "users") == 2
    assert "is not NAME=FIELD" in capsys.readouterr().err
    assert (
        command(
            *publish, "--path", str(save_version_model(tmp_path / "big", 1, size_mb=3)), "--inline", "--input", "x=user"
        )
        == 1
    )
    assert "--location" in capsys.readouterr().err


def test_generate_models_publishes_in_turns(
    command: Cli, kafka: KafkaSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(save_version_model(tmp_path / f"v{version}", version)) for version in (1, 2)]
    words = ["generate", "models", "--name", "m", "--type", "tensorflow-saved-model", "--every", "0", "--count", "3"]
    words += ["--input", "x=user"]
    assert command(*words, *paths) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.rsplit(" ", 1)[1] for line in shown] == [paths[0], paths[1], paths[0]]
    versions = ModelPublisher(kafka, command.topics["models-topic"]).versions()
    assert [(one.descriptor.model_version, one.state) for one in versions] == [(1, ""), (2, "previous"), (3, "live")]


def test_generate_records_sends_the_given_number_at_the_rate(
    command: Cli, kafka: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    assert command("generate", "records", "--schema", "recommender", "--rate", "200", "--count", "201") == 0
    assert time.monotonic() - began >= 1.0
    assert "201 records sent" in capsys.readouterr().err
    messages = read_all(kafka, command.topics["records-topic"], 201)
    assert (
        not RecordType.named("recommender")
        .codec.decode(pa.array([value for _, value, _ in messages], pa.binary()))
        .errors
    )


def in_the_background(*words: str) -> subprocess.Popen[str]:
    """Starts a command as a shell does with `&`, with SIGINT ignored. Both of its outputs go to one pipe."""
    command = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", sys.executable, "-m", "beam_pipeline", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end(process: subprocess.Popen[str], number: signal.Signals) -> tuple[str, int]:
    """Ends a command after it has printed its first line; returns the rest of its output, and its exit status."""
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(number)
        rest, _ = process.communicate(timeout=30.0)
    finally:
        process.kill()
        process.wait()
    return rest, process.returncode


SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@SIGNALS
def test_generate_records_stops_cleanly_at_a_signal(command: Cli, number: signal.Signals) -> None:
    words = ["generate", "records", "--schema", "wine", "--rate", "100", "--config", command.config]
    rest, status = end(in_the_background(*words), number)
    assert status == 0
    assert re.fullmatch(r"\d+ records sent to .*\n", rest)


@SIGNALS
def test_results_that_are_followed_stop_at_a_signal(command: Cli, kafka: KafkaSettings, number: signal.Signals) -> None:
    send(kafka, command.topics["results-topic"], (b"first", result(1)))
    assert end(in_the_background("results", "--follow", "--config", command.config), number) == ("", 0)


@SIGNALS
def test_dead_letters_that_are_followed_stop_at_a_signal(
    command: Cli, kafka: KafkaSettings, number: signal.Signals
) -> None:
    send(kafka, command.topics["dead-letter-topic"], letter("records", 1, b"x"))
    assert end(in_the_background("dead-letters", "show", "--follow", "--config", command.config), number) == ("", 0)


def test_a_signal_amid_something_finite_is_no_success(command: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> int:
        signal.raise_signal(signal.SIGTERM)
        return 0

    monkeypatch.setattr("beam_pipeline.cli.commands.models.run", interrupted)
    assert command("models", "list") == 130


def test_publish_prints_what_the_model_is_and_nothing_of_its_engine(command: Cli, tmp_path: Path) -> None:
    words = ["models", "publish", "--name", "recommender", "--type", "tensorflow-saved-model", "--input", "users=user"]
    words += ["--path", str(save_recommender(tmp_path / "model")), "--config", command.config]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    done = subprocess.run(
        [sys.executable, "-m", "beam_pipeline", *words], capture_output=True, text=True, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    *inspection, published = done.stdout.splitlines()
    assert published == "recommender: version 1 is live, for 'recommender' records"
    assert {line[:11].strip() for line in inspection} == {"type", "input", "output", "example", "", "size"}


def test_a_dry_run_needs_no_broker_and_publishes_nothing(
    command: Cli, kafka: KafkaSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--name", "recommender", "--type", "tensorflow-saved-model", "--input", "users=user"]
    model += ["--path", str(save_recommender(tmp_path / "model")), "--dry-run"]
    assert main(["models", "publish", *model]) == 0
    assert "recommender is not published (--dry-run)" in capsys.readouterr().out
    assert command("models", "publish", *model) == 0
    topics = AdminClient({"bootstrap.servers": kafka.bootstrap_servers}).list_topics(timeout=30).topics
    assert command.topics["models-topic"] not in topics
    assert main(["models", "publish", *model[:-2], str(tmp_path), "--dry-run"]) == 1
    assert "'recommender' was not published" in capsys.readouterr().err


def result(offset: int, error: str | None = None) -> bytes:
    codec = RecordType.named("recommender").codec
    model = ModelIdentity("recommender", 3, "tensorflow-saved-model", "/m", "d" * 64, 7)
    call = ModelCall(None if error else model, 1_700_000_000_000_000, 1_500, 1, error)
    outputs = None if error else RecordOutputs({"predictions": np.array([[0.25], [0.5]], "f4")}, np.array([0, 2]))
    records = pa.array([codec.encode(RECORD)], pa.binary())
    encoder = ResultEncoder(codec.embedding)
    (encoded,) = encoder.encode(call, Origin("records", 1), records, np.array([offset]), outputs).to_pylist()
    return bytes(encoded)


def test_results_are_shown_one_a_line_with_model_and_error(
    command: Cli, kafka: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = command.topics["results-topic"]
    send(kafka, topic, (b"first", result(1)), (None, result(2, "No model server defined")))
    assert command("results") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "records-1@1  key=first  recommender/3  1.5 ms for 1  predictions[2, 1]=0.25 0.5" in first
    assert "records-1@2  key=None  no model" in second
    assert "ERROR No model server defined" in second
    assert command("results", "--json", "--last", "1") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["inputRecord"] == RECORD
    assert shown["modelResultMetadata"]["errors"] == "No model server defined"


def test_results_reports_a_malformed_message_and_continues(
    command: Cli, kafka: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = command.topics["results-topic"]
    send(kafka, topic, (None, b"garbage"), (b"good", result(1)))
    assert command("results") == 1
    shown = capsys.readouterr()
    assert "key=good" in shown.out
    assert "not a ScoringResult" in shown.err


def test_a_topic_that_does_not_exist_is_named(command: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("results") == 1
    assert "does not exist" in capsys.readouterr().err


def test_status_shows_published_models_with_the_reports_of_workers(
    command: Cli, kafka: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = ModelPublisher(kafka, command.topics["models-topic"])
    for _ in range(2):
        topic.publish(ModelDescriptor("wine", "tensorflow-serving-grpc", model_source_location="grpc://localhost:1/w"))
    figures = ModelStatistics("wine", 1, None, 1_000, usage=42, calls=2, average=1.5, minimum=1.0, maximum=2.0)
    events = [
        StatusEvent("serving", 1, "worker", "wine", 1, "wine", None, figures),
        StatusEvent("failed", 2, "worker", "wine", 2, "wine", "it is broken"),
    ]
    send(kafka, command.topics["status-topic"], *((event.key, event.to_json()) for event in events))
    assert command("status", "--json") == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first["version"], first["state"], first["usage"], first["average"]) == (1, "serving", 42, 1.5)
    assert (second["version"], second["state"], second["last_error"]) == (2, "failed", "it is broken")
    assert command("status") == 0
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("wine", "serving", "42", "it is broken"))
    assert "deployment" not in shown


def test_status_distinguishes_deployments_and_names_workers_that_no_longer_follow(
    command: Cli, kafka: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    descriptor = ModelDescriptor("wine", "tensorflow-serving-grpc", model_source_location="grpc://localhost:1/w")
    ModelPublisher(kafka, command.topics["models-topic"]).publish(descriptor)
    events = [
        StatusEvent("serving", 1, "worker", "wine", 1, "wine", deployment="payments"),
        StatusEvent("failed", 2, "worker", "wine", 1, "wine", "no such field", deployment="search"),
        StatusEvent("stopped", 3, "host:7", error="two partitions", deployment="search"),
    ]
    send(kafka, command.topics["status-topic"], *((event.key, event.to_json()) for event in events))
    assert command("status") == 0
    shown = capsys.readouterr()
    assert all(text in shown.out for text in ("payments", "serving", "search", "failed"))
    assert "worker host:7 of 'search' no longer follows the models topic: two partitions" in shown.err
    assert command("status", "--json", "--deployment", "payments") == 0
    shown = capsys.readouterr()
    (status,) = (json.loads(line) for line in shown.out.splitlines())
    assert (status["deployment"], status["state"], shown.err) == ("payments", "serving", "")


def test_status_skips_malformed_messages_and_counts_them(
    command: Cli, kafka: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    descriptor = ModelDescriptor("wine", "tensorflow-serving-grpc", model_source_location="grpc://localhost:1/w")
    ModelPublisher(kafka, command.topics["models-topic"]).publish(descriptor)
    event = StatusEvent("serving", 1, "worker", "wine", 1, "wine")
    hostile = event.to_json().replace(b'"at": 1', b'"at": {}')
    for value in (b"garbage", event.to_json(), hostile):  # one after the other, for their order
        send(kafka, command.topics["status-topic"], (event.key, value))
    assert command("status", "--json") == 0
    shown = capsys.readouterr()
    (status,) = (json.loads(line) for line in shown.out.splitlines())
    assert status["state"] == "serving"
    assert shown.err == (
        "2 messages of the status topic skipped; the last one: not a status event: at: an object is not a whole "
        "number from 0 to 32503680000000\n"
    )


@SIGNALS
def test_a_watched_status_is_kept_current_until_a_signal(
    command: Cli, kafka: KafkaSettings, number: signal.Signals
) -> None:
    model = ModelDescriptor("wine", "tensorflow-serving-grpc", model_source_location="grpc://localhost:1/w")
    ModelPublisher(kafka, command.topics["models-topic"]).publish(model)
    event = StatusEvent("serving", 1, "worker", "wine", 1, "wine")
    send(kafka, command.topics["status-topic"], (b"other", b"garbage"), (event.key, event.to_json()))
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "beam_pipeline", "status", "--watch", "--config", command.config]
    process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        seen = read_until(ours, b"serving")
        assert b"wine/1" in seen
        later = StatusEvent("failed", 2, "worker", "wine", 1, "wine", "it is broken")
        send(kafka, command.topics["status-topic"], (later.key, later.to_json()))
        assert b"1 message of the status topic skipped" in seen + read_until(ours, b"it is broken")
        process.send_signal(number)
        assert process.wait(30.0) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(terminal: int, wanted: bytes) -> bytes:
    """What a program prints to its terminal until it has printed this."""
    seen = b""
    while wanted not in seen:
        assert select.select([terminal], [], [], 60.0)[0], seen.decode(errors="replace")
        seen += os.read(terminal, 65_536)
    return seen


def test_a_status_is_watched_only_on_a_terminal(command: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("status", "--watch") == 2
    assert "--watch needs a terminal; programs call status --json repeatedly" in capsys.readouterr().err


def letter(topic: str, offset: int, value: bytes | None) -> tuple[bytes, bytes]:
    one = DeadLetter("why", topic, 0, offset, 1, b"key", value, (("trace", b"1"),), 2)
    return one.coordinates.encode(), encode_dead_letter(one)


def test_dead_letters_are_shown_and_repaired_ones_put_back(
    command: Cli, kafka: KafkaSettings, make_topic: MakeTopic, capsys: pytest.CaptureFixture[str]
) -> None:
    records, letters = (make_topic(command.topics[name]) for name in ("records-topic", "dead-letter-topic"))
    good = RecordType.named("recommender").codec.encode(RECORD)
    send(kafka, letters, letter(records, 3, b"\xff"), letter(records, 4, good), letter("another-topic", 1, b"x"))
    assert command("dead-letters", "show") == 0
    assert f"{records}-0-3  why  (1 bytes b'\\xff')" in capsys.readouterr().out
    assert command("dead-letters", "show", "--json", "--last", "1") == 0
    assert json.loads(capsys.readouterr().out)["topic"] == "another-topic"

    assert command("dead-letters", "replay", "--all", "--dry-run") == 1
    shown = capsys.readouterr()
    assert f"{records}-0-4: would be put back" in shown.out
    assert f"{records}-0-3: left: not a recommender record" in shown.err

    repair = shlex.join([sys.executable, "-c", f"import sys; sys.stdout.buffer.write({good!r})"])
    assert command("dead-letters", "replay", "--coordinates", f"{records}-0-3", "--repair", repair) == 0
    assert "1 put back" in capsys.readouterr().out
    ((key, value, headers),) = read_all(kafka, records, 1)
    assert (key, value) == (b"key", good)
    assert headers == [("trace", b"1"), ("replayed.from", f"{records}-0-3".encode())]


def test_letters_with_a_registered_schema_are_shown_and_put_back_like_the_others(
    command: Cli,
    kafka: KafkaSettings,
    make_topic: MakeTopic,
    schema_registry: LocalSchemaRegistry,
    capsys: pytest.CaptureFixture[str],
) -> None:
    records, letters = (make_topic(command.topics[name]) for name in ("records-topic", "dead-letter-topic"))
    topic = DeadLetterTopic(letters, RegistryFraming(RegistrySettings(schema_registry.url)))
    good = RecordType.named("recommender").codec.encode(RECORD)
    key, registered = letter(records, 4, good)
    send(kafka, letters, letter(records, 3, good), (key, topic.frame(registered)))
    assert command("dead-letters", "show") == 0
    shown = capsys.readouterr()
    assert (f"{records}-0-3" in shown.out, f"{records}-0-4" in shown.out) == (True, False)
    assert "give --schema-registry to read it" in shown.err
    where = ("--schema-registry", schema_registry.url)
    assert command("dead-letters", "show", *where) == 0
    shown = capsys.readouterr()
    assert (f"{records}-0-3" in shown.out, f"{records}-0-4" in shown.out, shown.err) == (True, True, "")
    assert command("dead-letters", "replay", "--all", *where) == 0
    assert "2 put back" in capsys.readouterr().out
    assert [value for _, value, _ in read_all(kafka, records, 2)] == [good, good]


def test_replay_says_when_the_coordinates_are_those_of_no_dead_letter(
    command: Cli, kafka: KafkaSettings, make_topic: MakeTopic, capsys: pytest.CaptureFixture[str]
) -> None:
    records, letters = (make_topic(command.topics[name]) for name in ("records-topic", "dead-letter-topic"))
    send(kafka, letters, letter(records, 3, b"\xff"))
    assert command("dead-letters", "replay", "--coordinates", f"{records}-0-9") == 2
    assert f"{records}-0-9" in capsys.readouterr().err


def test_a_repair_that_fails_leaves_the_letter(
    command: Cli, kafka: KafkaSettings, make_topic: MakeTopic, capsys: pytest.CaptureFixture[str]
) -> None:
    records, letters = (make_topic(command.topics[name]) for name in ("records-topic", "dead-letter-topic"))
    send(kafka, letters, letter(records, 3, b"\xff"))
    assert command("dead-letters", "replay", "--all", "--repair", "false") == 1
    assert "--repair exited with status 1" in capsys.readouterr().err
    assert end_of(kafka, records) == 0
    assert end_of(kafka, letters) == 1
    ((_, value, _),) = read_all(kafka, letters, 1)
    assert decode_dead_letter(value or b"").value == b"\xff"


def test_replay_puts_a_letter_back_once_unless_it_is_asked_again(
    command: Cli, kafka: KafkaSettings, make_topic: MakeTopic, capsys: pytest.CaptureFixture[str]
) -> None:
    records, letters = (make_topic(command.topics[name]) for name in ("records-topic", "dead-letter-topic"))
    good = RecordType.named("recommender").codec.encode(RECORD)
    # A restarted pipeline may have rejected a record twice; another is still malformed, between two that are not.
    send(kafka, letters, letter(records, 3, good), letter(records, 4, b"\xff"), letter(records, 3, good))
    assert command("dead-letters", "replay", "--all", "--dry-run") == 1
    assert command("dead-letters", "replay", "--all") == 1
    assert "1 put back" in capsys.readouterr().out
    send(kafka, letters, letter(records, 5, good), letter(records, 3, good))
    assert command("dead-letters", "replay", "--all") == 1
    shown = capsys.readouterr()
    assert "1 put back" in shown.out
    assert f"{records}-0-4: left" in shown.err
    came_from = [dict(headers)["replayed.from"].decode() for _, _, headers in read_all(kafka, records, 2)]
    assert came_from == [f"{records}-0-3", f"{records}-0-5"]

    assert command("dead-letters", "replay", "--all", "--again") == 1
    assert "2 put back" in capsys.readouterr().out
    assert command("dead-letters", "replay", "--coordinates", f"{records}-0-3") == 0
    assert "1 put back" in capsys.readouterr().out
    assert end_of(kafka, records) == 5


def test_the_marks_of_replayed_letters_are_not_shown_as_letters(
    command: Cli, kafka: KafkaSettings, make_topic: MakeTopic, capsys: pytest.CaptureFixture[str]
) -> None:
    records, letters = (make_topic(command.topics[name]) for name in ("records-topic", "dead-letter-topic"))
    send(kafka, letters, letter(records, 3, RecordType.named("recommender").codec.encode(RECORD)))
    assert command("dead-letters", "replay", "--all") == 0
    _, (key, value, _) = read_all(kafka, letters, 2)
    assert (key, value) == (f"{records}-0-3".encode(), None)
    capsys.readouterr()
    assert command("dead-letters", "show") == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 1
    assert shown.err == ""


def test_again_needs_all(command: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("dead-letters", "replay", "--coordinates", "records-0-3", "--again") == 2
    assert "--again is for --all only" in capsys.readouterr().err


def test_run_names_a_topic_that_the_broker_does_not_answer_to_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("models.kafka.topics._SECONDS", 1.0)
    topics = {f"{name}-topic": name for name in ("records", "models", "results", "dead-letter")}
    with EmbeddedBroker() as broker:
        path = tmp_path / "serving.yaml"
        config = {"bootstrap-servers": broker.bootstrap_servers, "record-schema": "wine", **topics}
        path.write_text(json.dumps(config), encoding="utf-8")
        assert main(["run", "--config", str(path)]) == 1
    assert "topic 'models' is missing, and the broker did not answer" in capsys.readouterr().err
