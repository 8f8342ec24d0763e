"""The commands against a real broker, without a pipeline; with one, see tests/end_to_end."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import TopicPartition

from beam_pipeline.cli.command_line import main
from models.encoding.dead_letter import DeadLetter, decode_dead_letter, encode_dead_letter
from models.encoding.result import ModelIdentity, Origin, ResultEncoder, Scoring
from models.kafka.client import KafkaSettings
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.publisher import ModelsTopic
from models.records.schema import RecordSchema
from models.serving.mapping import RecordOutputs
from models.serving.status import ModelStatistics, StatusEvent
from runners.local.kafka_broker import LocalBroker
from tests.conftest import MakeTopic
from tests.saved_models import save_recommender, save_version_model

RECORD = {"user": 5, "products": [1, 2], "dataType": "recommender"}


@pytest.fixture
def kafka(broker: LocalBroker) -> KafkaSettings:
    return KafkaSettings(broker.bootstrap_servers)


@dataclass(frozen=True)
class Cli:
    """Runs commands with a configuration file that names topics of one test."""

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
    assert "retired already" in capsys.readouterr().err
    assert command("models", "rollback", "recommender", "--to", "9") == 1
    assert "there are: 1, 2" in capsys.readouterr().err


def test_publish_refuses_what_cannot_be(command: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish = ["models", "publish", "--name", "m", "--type", "tensorflow-saved-model"]
    assert command(*publish, "--path", str(tmp_path / "nothing")) == 2
    assert "there is no such file or folder" in capsys.readouterr().err
    assert command(*publish, "--location", str(tmp_path), "--inline") == 2
    assert "--inline goes with --path" in capsys.readouterr().err
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
    versions = ModelsTopic(kafka, command.topics["models-topic"]).versions()
    assert [(one.descriptor.model_version, one.state) for one in versions] == [(1, ""), (2, "previous"), (3, "live")]


def test_generate_records_sends_as_many_as_told_at_the_rate(
    command: Cli, kafka: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    assert command("generate", "records", "--schema", "recommender", "--rate", "200", "--count", "201") == 0
    assert time.monotonic() - began >= 1.0
    assert "201 records sent" in capsys.readouterr().err
    messages = read_all(kafka, command.topics["records-topic"], 201)
    assert not RecordSchema.named("recommender").decode([value for _, value, _ in messages]).errors


def test_generate_records_stops_cleanly_at_ctrl_c(command: Cli) -> None:
    words = [*("generate", "records", "--schema", "wine", "--rate", "100"), "--config", command.config]
    process = subprocess.Popen([sys.executable, "-m", "beam_pipeline", *words], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "records sent" in process.stderr.readline()  # it tells of its progress
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(30.0) == 0
    assert "records sent" in rest
    assert "Traceback" not in rest


def result(offset: int, error: str | None = None) -> bytes:
    schema = RecordSchema.named("recommender")
    model = ModelIdentity("recommender", 3, "tensorflow-saved-model", "/m", "d" * 64, 7)
    scoring = Scoring(None if error else model, 1_700_000_000_000_000, 1_500, 1, error)
    outputs = None if error else RecordOutputs({"predictions": np.array([[0.25], [0.5]], "f4")}, np.array([0, 2]))
    (encoded,) = ResultEncoder(schema).encode(scoring, Origin("records", 1), [schema.encode(RECORD)], [offset], outputs)
    return encoded


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


def test_results_tells_of_what_is_no_result_and_goes_on(
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


def test_status_shows_published_models_with_what_workers_told(
    command: Cli, kafka: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = ModelsTopic(kafka, command.topics["models-topic"])
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


def test_status_tells_deployments_apart_and_names_workers_that_no_longer_follow(
    command: Cli, kafka: KafkaSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    descriptor = ModelDescriptor("wine", "tensorflow-serving-grpc", model_source_location="grpc://localhost:1/w")
    ModelsTopic(kafka, command.topics["models-topic"]).publish(descriptor)
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


def letter(topic: str, offset: int, value: bytes | None) -> tuple[bytes, bytes]:
    one = DeadLetter("why", topic, 0, offset, 1, b"key", value, (("trace", b"1"),), 2)
    return one.coordinates.encode(), encode_dead_letter(one)


def test_dead_letters_are_shown_and_repaired_ones_put_back(
    command: Cli, kafka: KafkaSettings, make_topic: MakeTopic, capsys: pytest.CaptureFixture[str]
) -> None:
    records, letters = (make_topic(command.topics[name]) for name in ("records-topic", "dead-letter-topic"))
    good = RecordSchema.named("recommender").encode(RECORD)
    send(kafka, letters, letter(records, 3, b"\xff"), letter(records, 4, good), letter("another-topic", 1, b"x"))
    assert command("dead-letters", "show") == 0
    assert f"{records}-0-3  why  (1 bytes b'\\xff')" in capsys.readouterr().out
    assert command("dead-letters", "show", "--json", "--last", "1") == 0
    assert json.loads(capsys.readouterr().out)["topic"] == "another-topic"

    assert command("dead-letters", "replay", "--all", "--dry-run") == 1
    shown = capsys.readouterr()
    assert f"{records}-0-4: would be put back" in shown.out
    assert f"{records}-0-3: left: no recommender record" in shown.err

    repair = shlex.join([sys.executable, "-c", f"import sys; sys.stdout.buffer.write({good!r})"])
    assert command("dead-letters", "replay", "--coordinates", f"{records}-0-3", "--repair", repair) == 0
    assert "1 put back" in capsys.readouterr().out
    ((key, value, headers),) = read_all(kafka, records, 1)
    assert (key, value) == (b"key", good)
    assert headers == [("trace", b"1"), ("replayed.from", f"{records}-0-3".encode())]


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
    assert "--repair ended with status 1" in capsys.readouterr().err
    assert decode_dead_letter(letter(records, 3, b"\xff")[1]).value == b"\xff"
