"""The broker as a separate process. Each test that stops or restarts a broker starts its own."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Message, Producer
from confluent_kafka.admin import AdminClient, ConfigResource

from runners.local import kafka_broker, kafka_jars
from runners.local.free_ports import FIRST_PORT, HOST, LAST_PORT, free_port, is_free
from runners.local.java_tools import JavaToolError
from runners.local.kafka_broker import BrokerSettings, BrokerStartError, LocalBroker
from tests.conftest import MakeTopic

PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def own_broker() -> Iterator[LocalBroker]:
    with LocalBroker(BrokerSettings(properties={"message.max.bytes": "12345678"})) as running:
        yield running


def produce(broker: LocalBroker, topic: str, *values: str) -> None:
    told: list[object] = []
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
    for value in values:
        # With a key, which compacted topics demand.
        producer.produce(topic, value.encode(), key=value.encode(), on_delivery=lambda error, _: told.append(error))
    assert producer.flush(PATIENCE_SECONDS) == 0
    assert told == [None] * len(values)


def consume(broker: LocalBroker, topic: str, count: int) -> list[str]:
    settings = {"bootstrap.servers": broker.bootstrap_servers, "group.id": "readers", "log_level": 0}
    consumer = Consumer({**settings, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe([topic])
    messages: list[Message] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(messages) < count and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is not None and not message.error():
            messages.append(message)
    consumer.close()
    return [message.value().decode() for message in messages]


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_what_is_produced_is_consumed(
    broker: LocalBroker, make_topic: MakeTopic, topic_names: Callable[[str], str]
) -> None:
    topic = make_topic(topic_names("records"), partitions=3, cleanup_policy="compact")
    produce(broker, topic_names("other"), "made on first use")
    produce(broker, topic, "a", "b", "c")
    assert sorted(consume(broker, topic, 3)) == ["a", "b", "c"]
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    assert admin.describe_configs([resource])[resource].result(30)["cleanup.policy"].value == "compact"
    assert len(admin.list_topics(topic, timeout=30).topics[topic].partitions) == 3


def test_properties_override_ours(own_broker: LocalBroker) -> None:
    resource = ConfigResource(ConfigResource.Type.BROKER, "1")
    admin = AdminClient({"bootstrap.servers": own_broker.bootstrap_servers})
    values = admin.describe_configs([resource])[resource].result(30)
    assert values["message.max.bytes"].value == "12345678"
    assert values["num.partitions"].value == "1"


def test_restart_and_crash_keep_address_and_data(own_broker: LocalBroker) -> None:
    address, first = own_broker.bootstrap_servers, own_broker.process_id
    assert first is not None
    produce(own_broker, "kept", "before")
    own_broker.restart()
    assert own_broker.process_id != first
    produce(own_broker, "kept", "between")
    own_broker.kill()
    assert own_broker.process_id is None
    assert not psutil.pid_exists(first)
    own_broker.start()
    produce(own_broker, "kept", "after")
    assert own_broker.bootstrap_servers == address
    assert consume(own_broker, "kept", 3) == ["before", "between", "after"]


def test_starting_twice_is_starting_once(broker: LocalBroker) -> None:
    before = broker.process_id
    broker.start()
    assert broker.process_id == before


def test_close_leaves_neither_process_nor_folder_nor_port() -> None:
    with LocalBroker() as local:
        process, folder, port = local.process_id, local.work_folder, int(local.bootstrap_servers.split(":")[1])
    assert process is not None
    assert not psutil.pid_exists(process)
    assert not folder.exists()
    assert is_free(port)


def test_the_broker_ends_with_its_parent_even_when_that_is_killed(tmp_path: Path) -> None:
    program = """
import sys, time, pathlib
from runners.local.kafka_broker import BrokerSettings, LocalBroker
broker = LocalBroker(BrokerSettings(work_folder=pathlib.Path(sys.argv[1])))
broker.start()
print(broker.process_id, flush=True)
time.sleep(600)
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    parent = subprocess.Popen(command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert psutil.pid_exists(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert eventually(lambda: not psutil.pid_exists(child))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_it_says_its_address_and_stops_in_order(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    # As a shell starts what it puts into the background.
    command = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"]
    command += [sys.executable, "-m", "runners.local.kafka_broker", "--port", str(port), "--work-folder", str(tmp_path)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert f"{HOST}:{port}" in process.stdout.readline()
    process.send_signal(number)
    assert process.wait(PATIENCE_SECONDS) == 0
    assert str(tmp_path) in process.stdout.read()
    process.stdout.close()
    assert is_free(port)
    assert (tmp_path / "data").is_dir()


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen(1)
        port = other.getsockname()[1]
        with pytest.raises(BrokerStartError, match=f"{port} is in use"), LocalBroker(BrokerSettings(port=port)):
            pass


def test_a_broker_that_cannot_start_shows_its_log() -> None:
    settings = BrokerSettings(properties={"num.network.threads": "none"})
    with pytest.raises(BrokerStartError, match=r"num\.network\.threads"), LocalBroker(settings):
        pass


@pytest.mark.parametrize("missing", ["java", "mvn"])
def test_a_missing_tool_is_named_with_the_remedy(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if missing == "mvn":
        (tmp_path / "java").write_text("#!/bin/sh\n")
        (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(JavaToolError, match=rf"`{missing}` is not on PATH.*install"), LocalBroker():
        pass


def test_jars_of_another_pom_are_fetched_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "beam-serving" / "kafka" / "3.9.0"
    folder.mkdir(parents=True)
    (folder / "pom.xml").write_text("<project>another</project>")
    (folder / "old.jar").touch()
    fetched = kafka_jars.kafka_jars()
    assert fetched == folder
    assert not (folder / "old.jar").exists()
    assert (folder / "kafka_2.13-3.9.0.jar").is_file()


def test_drawn_ports_lie_where_no_client_takes_them() -> None:
    ports = {free_port() for _ in range(20)}
    assert len(ports) > 1
    assert all(FIRST_PORT <= port <= LAST_PORT for port in ports)


def test_a_drawn_port_that_somebody_takes_before_the_start_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen(1)
        taken = other.getsockname()[1]
        draws = iter([free_port(), taken])
        # Only the first two draws are ours: the client's port, and the controller's, which is the one that is taken.
        monkeypatch.setattr(kafka_broker, "free_port", lambda: next(draws, None) or free_port())
        with LocalBroker() as local:
            assert local.process_id is not None
            produce(local, "works", "yes")


def test_a_fork_does_not_end_the_broker(broker: LocalBroker) -> None:
    # Runs the exit handlers of a fork, without forking this process with all its threads.
    before = broker.process_id
    broker._owner, owner = -1, broker._owner
    try:
        broker.close()
    finally:
        broker._owner = owner
    assert broker.process_id == before
    assert before is not None
    assert broker.work_folder.exists()
