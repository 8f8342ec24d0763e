"""A real Kafka broker on this machine for tests, benchmarks and development: one KRaft process without encryption.

`python -m runners.local.kafka_broker` runs it in the foreground until Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from models.errors import ServingError
from runners.local.free_ports import HOST, free_port, is_free
from runners.local.java_tools import JavaToolError, java
from runners.local.kafka_jars import NEEDED_BY, kafka_jars
from runners.local.server_process import ServerProcess, end_of_log
from runners.local.service import LocalService
from runners.local.signals import interrupted_by_signals

CLUSTER_ID = "AAAAAAAAQACAAAAAAAAAAQ"
POLL_SECONDS = 0.1
ATTEMPTS_TO_FIND_PORTS = 3


class BrokerStartError(ServingError):
    """The local Kafka broker did not start; the message has the end of its log."""


@dataclass(frozen=True)
class BrokerSettings:
    """The settings of a local broker.

    Attributes:
      port: the port for clients; None for a free port.
      work_folder: the folder for data, properties and log; None for a temporary folder that `close` removes.
      heap: the maximum Java heap, as a value for -Xmx.
      properties: server properties that override ours, for example {"message.max.bytes": "20000000"}.
      start_seconds: how long the broker may take until it answers.
      stop_seconds: how long the broker may take to shut down before it is killed.
    """

    port: int | None = None
    work_folder: Path | None = None
    heap: str = "512m"
    properties: Mapping[str, str] = field(default_factory=dict)
    start_seconds: float = 90.0
    stop_seconds: float = 30.0


class LocalBroker(LocalService):
    """A broker process with its data.

    Life cycle: `start` returns when the broker answers. After `stop` or `kill`, `start` brings it back on the same port
    with the same data; `restart` does both. `close` ends it for good and removes a temporary work folder. As a context
    manager it starts and closes. The process never outlives this one. Not thread-safe.
    """

    def __init__(self, settings: BrokerSettings | None = None) -> None:
        self._settings = settings or BrokerSettings()
        super().__init__(self._settings.work_folder, "beam-serving-kafka-")
        self._process: ServerProcess | None = None
        self._port = self._settings.port or free_port()
        self._controller_port = free_port()
        # Until the first successful start, no client knows the ports, so others can be drawn.
        self._ports_are_settled = False

    @property
    def bootstrap_servers(self) -> str:
        """The address for clients; it is fixed once `start` has returned for the first time."""
        return f"{HOST}:{self._port}"

    @property
    def log_file(self) -> Path:
        """The file with the broker's output, of all its starts."""
        return self.work_folder / "kafka.log"

    @property
    def process_id(self) -> int | None:
        """The process id of the running broker; None if it does not run."""
        return self._process.process_id if self._process is not None and self._process.running else None

    def start(self) -> None:
        """Starts the broker and returns when it answers requests for metadata. Does nothing if it runs.

        Raises:
          JavaToolError: Java is missing, or Maven is missing at the first use.
          BrokerStartError: the port is in use, or the broker ends or does not answer in time.
        """
        if self.process_id is not None:
            return
        self.kill()
        launcher, jars = java(NEEDED_BY), kafka_jars()
        for attempt in range(ATTEMPTS_TO_FIND_PORTS):
            self._require_free_port()
            properties = self._write_properties()
            self._format_storage(launcher, jars, properties)
            self._process = self._java(launcher, jars, ["kafka.Kafka", str(properties)])
            if self._answers():
                self._ports_are_settled = True
                return
            lost_race = self._lost_port_to_another(last=attempt + 1 == ATTEMPTS_TO_FIND_PORTS)
            self.kill()
            if not lost_race:
                break
            self._draw_ports_again()
        raise BrokerStartError(f"The local Kafka broker did not start on {self.bootstrap_servers}:\n{self._log_end()}")

    def stop(self) -> None:
        """Shuts the broker down, and kills it if that takes too long. Does nothing if it does not run."""
        if self._process is not None:
            self._process.stop(self._settings.stop_seconds)
            self._process = None

    def kill(self) -> None:
        """Kills the broker with SIGKILL, like a crash, and waits until it is gone. Does nothing if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self) -> None:
        """Stops and starts the broker, with the same port and data. Raises what `start` raises."""
        self.stop()
        self.start()

    def _end(self, *, in_order: bool) -> None:
        self.stop() if in_order else self.kill()

    def _require_free_port(self) -> None:
        if not is_free(self._port):
            raise BrokerStartError(f"Port {self._port} is in use: stop its server, or choose another port with --port.")

    def _draw_ports_again(self) -> None:
        self._port = self._settings.port or free_port()
        self._controller_port = free_port()

    def _write_properties(self) -> Path:
        ours = server_properties(self._port, self._controller_port, self.work_folder / "data")
        self.work_folder.mkdir(parents=True, exist_ok=True)
        path = self.work_folder / "server.properties"
        lines = [f"{key}={value}" for key, value in {**ours, **self._settings.properties}.items()]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def _java(self, launcher: str, jars: Path, arguments: list[str]) -> ServerProcess:
        logging = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
        # The broker is short-lived and shares the machine: with the optimising compiler, it stalled for up to a second
        # at a time during its first half minute on two cores.
        machine = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xms64m", f"-Xmx{self._settings.heap}"]
        return ServerProcess([launcher, *machine, *logging, "-cp", f"{jars}/*", *arguments], self.log_file)

    def _format_storage(self, launcher: str, jars: Path, properties: Path) -> None:
        if (self.work_folder / "data" / "meta.properties").exists():
            return
        tool = self._java(
            launcher, jars, ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)]
        )
        try:
            code = tool.wait()
        finally:
            tool.kill()
        if code != 0:
            raise BrokerStartError(f"Kafka could not format its data folder:\n{self._log_end()}")

    def _answers(self) -> bool:
        """Waits until the broker answers a client; False if it ends or does not answer in time."""
        deadline = time.monotonic() + self._settings.start_seconds
        while self.process_id is not None and time.monotonic() < deadline:
            # It takes seconds until the port is open; until then a client would only log failed connections, and wait
            # longer and longer between attempts.
            if not is_free(self._port) and _names_a_broker(self.bootstrap_servers):
                return True
            time.sleep(POLL_SECONDS)
        return False

    def _lost_port_to_another(self, *, last: bool) -> bool:
        """Whether another server took one of the random ports before the broker could open it."""
        return not (last or self._ports_are_settled) and "Address already in use" in self._log_end()

    def _log_end(self) -> str:
        return end_of_log(self.log_file)


def server_properties(port: int, controller_port: int, data: Path) -> dict[str, str]:
    """The properties of a single broker that keeps its data in `data` and creates topics on first use."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        # A numeric address, because localhost resolves to two addresses on many machines, and clients try the wrong
        # one first.
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(data),
        "num.partitions": "1",
        "auto.create.topics.enable": "true",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.num.partitions": "1",
        "transaction.state.log.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        # A killed broker can only register again after its old session has expired, by default after nine seconds.
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "3000",
    }


def _names_a_broker(bootstrap_servers: str) -> bool:
    client = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    try:
        return bool(client.list_topics(timeout=1.0).brokers)
    except KafkaException:
        return False


def main(arguments: list[str] | None = None) -> int:
    """Runs a Kafka broker until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m runners.local.kafka_broker", description=main.__doc__)
    parser.add_argument("--port", type=int, default=9092, help="the port for clients (default: 9092)")
    parser.add_argument("--work-folder", type=Path, help="the folder for data and log (default: a temporary folder)")
    options = parser.parse_args(arguments)
    settings = BrokerSettings(port=options.port, work_folder=options.work_folder)
    try:
        with interrupted_by_signals(), LocalBroker(settings) as broker:
            return _serve(broker)
    except (JavaToolError, BrokerStartError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _serve(broker: LocalBroker) -> int:
    """Waits until the user stops the broker, or until it ends on its own."""
    where = f"Kafka broker: {broker.bootstrap_servers}\nData and log: {broker.work_folder}\nCtrl-C stops it."
    print(where, flush=True)
    never = threading.Event()
    while broker.process_id is not None:
        never.wait(1.0)
    print(f"The broker ended on its own; its log is {broker.log_file}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
