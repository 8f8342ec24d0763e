"""A real Kafka broker on this machine, for tests, benchmarks and development: one KRaft process, plain text.

Run as `python -m runners.local.kafka_broker` it stays in the foreground until Ctrl-C.
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
    """The local Kafka broker did not come up; the message ends with the end of its log."""


@dataclass(frozen=True)
class BrokerSettings:
    """How a local broker is to be.

    Attributes:
      port: where clients connect; drawn among the free ones when None.
      work_folder: data, properties and log; when None, a temporary folder that goes when the broker is closed.
      heap: the limit of the Java heap, as -Xmx takes it.
      properties: server properties that override ours, for example {"message.max.bytes": "20000000"}.
      start_seconds: how long it may take until it answers.
      stop_seconds: how long it may take to shut down before it is killed.
    """

    port: int | None = None
    work_folder: Path | None = None
    heap: str = "512m"
    properties: Mapping[str, str] = field(default_factory=dict)
    start_seconds: float = 90.0
    stop_seconds: float = 30.0


class LocalBroker(LocalService):
    """One broker process with its data.

    Life cycle: `start` returns when the broker answers; after `stop` or `kill`, `start` brings it back on the same
    port with the same data, as `restart` does in one; `close` ends it for good and removes a temporary work folder.
    As a context manager it starts and closes. The process ends with this one in any case. Not thread-safe.
    """

    def __init__(self, settings: BrokerSettings | None = None) -> None:
        self._settings = settings or BrokerSettings()
        super().__init__(self._settings.work_folder, "beam-serving-kafka-")
        self._process: ServerProcess | None = None
        self._port = self._settings.port or free_port()
        self._controller_port = free_port()
        # Ports that were only drawn can be drawn again, until somebody knows them.
        self._ports_are_settled = False

    @property
    def bootstrap_servers(self) -> str:
        """The address for clients; settled by the first `start`, the same ever after."""
        return f"{HOST}:{self._port}"

    @property
    def log_file(self) -> Path:
        """What the broker printed, over all its starts."""
        return self.work_folder / "kafka.log"

    @property
    def process_id(self) -> int | None:
        """The process of the running broker, else None."""
        return self._process.process_id if self._process is not None and self._process.running else None

    def start(self) -> None:
        """Starts the broker and returns when it answers metadata. Does nothing when it runs.

        Raises:
          JavaToolError: when Java, or Maven on the first use, is missing.
          BrokerStartError: when its port is taken, or when it ends or stays silent instead of answering.
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
        """Shuts the broker down in order, or kills it when that takes too long. Does nothing when it does not run."""
        if self._process is not None:
            self._process.stop(self._settings.stop_seconds)
            self._process = None

    def kill(self) -> None:
        """Ends the broker as a crash would (SIGKILL) and returns when it is gone. Does nothing when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self) -> None:
        """Stops and starts it: same port, same data. Raises what `start` raises."""
        self.stop()
        self.start()

    def _end(self, *, in_order: bool) -> None:
        self.stop() if in_order else self.kill()

    def _require_free_port(self) -> None:
        if not is_free(self._port):
            raise BrokerStartError(
                f"Port {self._port} is taken: stop what listens there, or name another one (--port, or none for any)."
            )

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
        # Made for a short life beside other work: with the optimising compiler the first half minute stalled for up to
        # a second at a time on two cores.
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
        """Waits until the broker has told a client about itself; False when it ended or the time is over."""
        deadline = time.monotonic() + self._settings.start_seconds
        while self.process_id is not None and time.monotonic() < deadline:
            # Nothing listens for seconds: a client would only log that, and grow its pauses between attempts.
            if not is_free(self._port) and _names_a_broker(self.bootstrap_servers):
                return True
            time.sleep(POLL_SECONDS)
        return False

    def _lost_port_to_another(self, *, last: bool) -> bool:
        """Whether a server of somebody else took a drawn port between the draw and the broker's start."""
        return not (last or self._ports_are_settled) and "Address already in use" in self._log_end()

    def _log_end(self) -> str:
        return end_of_log(self.log_file)


def server_properties(port: int, controller_port: int, data: Path) -> dict[str, str]:
    """The properties of a broker that is alone, keeps its data in `data`, and makes topics on first use."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        # Numbers, not localhost: that name is two addresses on many machines, and clients try the wrong one first.
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
        # A killed broker may register again only when its old session has run out: by default after nine seconds.
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
    """Runs a broker until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m runners.local.kafka_broker", description=main.__doc__)
    parser.add_argument("--port", type=int, default=9092, help="where clients connect (default: 9092)")
    parser.add_argument("--work-folder", type=Path, help="keep data and log here (default: a temporary folder)")
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
    """Waits until the user or the broker ends it."""
    where = f"Kafka broker: {broker.bootstrap_servers}\nData and log: {broker.work_folder}\nCtrl-C stops it."
    print(where, flush=True)
    never = threading.Event()
    while broker.process_id is not None:
        never.wait(1.0)
    print(f"The broker ended by itself; its log is {broker.log_file}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
