"""A Kafka broker beside the cluster: with TLS and client certificates for pods, in plain text for this machine."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from flink.cluster import layout, processes
from flink.cluster.commands import run
from flink.cluster.errors import ClusterError
from flink.cluster.node.certificates import Authority
from runners.local.cache_folder import announce
from runners.local.free_ports import HOST, is_free
from runners.local.java_tools import java
from runners.local.kafka_broker import CLUSTER_ID, server_properties
from runners.local.kafka_jars import NEEDED_BY, kafka_jars

TLS_PORT = 9093
# For this machine: the demo, the tests, and `beam-serving models`.
PLAIN_PORT = 19092
_CONTROLLER_PORT = 19093
BOOTSTRAP_SERVERS = f"{HOST}:{PLAIN_PORT}"
# Those of flink/kubernetes/kafka, with one replica.
TOPICS = {"records": 4, "models": 1, "results": 4, "dead-letters": 1, "status": 1}
_COMPACTED = ("models",)
_NAME = "kafka"
_SECONDS = 60.0


def folder() -> Path:
    """The broker's data and configuration."""
    return layout.node_folder() / "kafka"


def certificates() -> Path:
    """The folder with the broker's certificate and the pipeline's."""
    return folder() / "certificates"


def fetch() -> None:
    """Downloads Kafka unless it is in the cache; raises JavaToolError if Java or Maven is missing or fails."""
    _java()


def up(address: str = layout.HOST_ADDRESS) -> None:
    """Creates certificates, an empty broker and its topics.

    Args:
      address: the address of this machine as pods see it.

    Raises:
      ClusterError: it does not start.
    """
    if not is_free(PLAIN_PORT):
        raise ClusterError(f"port {PLAIN_PORT} of this machine is in use: end its server")
    shutil.rmtree(folder(), ignore_errors=True)
    authority = Authority(certificates())
    authority.issue("broker", "kafka", hosts=("kafka-kafka-bootstrap.kafka.svc", address))
    authority.issue("user", "beam-serving")
    _write_properties(address)
    format_data = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(_properties())]
    run([*_java(), *format_data])
    start()
    _create_topics()


def start() -> None:
    """Starts the broker with the data that it has, and returns when it answers."""
    announce("Starting Kafka")
    processes.start(_NAME, [*_java(), "kafka.Kafka", str(_properties())], inside=False)
    deadline = time.monotonic() + _SECONDS
    while is_free(PLAIN_PORT) or not _answers():
        processes.check(_NAME)
        if time.monotonic() > deadline:
            raise ClusterError(f"Kafka did not answer within {_SECONDS:.0f} s; see {layout.log_folder() / 'kafka.log'}")
        time.sleep(0.2)


def stop() -> None:
    """Ends the broker in order; its data is kept."""
    processes.stop(_NAME, 30.0)


def kill() -> None:
    """Kills the broker, like a crash."""
    processes.kill(_NAME)


def down() -> None:
    """Ends the broker and deletes its data."""
    stop()
    shutil.rmtree(folder(), ignore_errors=True)


def _java() -> list[str]:
    machine = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xms64m", "-Xmx512m"]
    log_level = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return [java(NEEDED_BY), *machine, log_level, "-cp", f"{kafka_jars()}/*"]


def _properties() -> Path:
    return folder() / "server.properties"


def _write_properties(address: str) -> None:
    authority = certificates() / "ca.crt"
    keys = certificates() / "broker.pem"
    keys.write_bytes((certificates() / "broker.key").read_bytes() + (certificates() / "broker.crt").read_bytes())
    keys.chmod(0o600)
    plain, pods = f"PLAINTEXT://{HOST}:{PLAIN_PORT}", f"PODS://{address}:{TLS_PORT}"
    properties = {
        **server_properties(PLAIN_PORT, _CONTROLLER_PORT, folder() / "data"),
        "listeners": f"{plain},{pods},CONTROLLER://{HOST}:{_CONTROLLER_PORT}",
        "advertised.listeners": f"{plain},{pods}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PODS:SSL",
        "listener.name.pods.ssl.client.auth": "required",
        "listener.name.pods.ssl.keystore.type": "PEM",
        "listener.name.pods.ssl.keystore.location": str(keys),
        "listener.name.pods.ssl.truststore.type": "PEM",
        "listener.name.pods.ssl.truststore.location": str(authority),
        "auto.create.topics.enable": "false",
    }
    text = "\n".join(f"{key}={value}" for key, value in properties.items())
    _properties().write_text(f"{text}\n", encoding="utf-8")


def _answers() -> bool:
    client = AdminClient({"bootstrap.servers": BOOTSTRAP_SERVERS, "log_level": 0})
    try:
        return bool(client.list_topics(timeout=1.0).brokers)
    except KafkaException:
        return False


def empty_topics() -> None:
    """Deletes the topics with all their messages, and creates them again."""
    client = AdminClient({"bootstrap.servers": BOOTSTRAP_SERVERS})
    for deleted in client.delete_topics(list(TOPICS)).values():
        deleted.result(timeout=30)
    deadline = time.monotonic() + _SECONDS
    while TOPICS.keys() & client.list_topics(timeout=10).topics.keys():
        if time.monotonic() > deadline:
            raise ClusterError(f"Kafka did not delete its topics within {_SECONDS:.0f} s")
        time.sleep(0.2)
    _create_topics()


def _create_topics() -> None:
    client = AdminClient({"bootstrap.servers": BOOTSTRAP_SERVERS})
    compacted = {"cleanup.policy": "compact"}
    topics = [
        NewTopic(name, partitions, 1, config=compacted if name in _COMPACTED else {})
        for name, partitions in TOPICS.items()
    ]
    for created in client.create_topics(topics).values():
        created.result(timeout=30)
