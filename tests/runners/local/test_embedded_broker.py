from __future__ import annotations

import subprocess
import sys
import uuid

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from runners.local.embedded_broker import EmbeddedBroker, EmbeddedBrokerError


def test_what_one_client_produces_another_process_consumes() -> None:
    reader = """
import sys
from confluent_kafka import Consumer
consumer = Consumer({"bootstrap.servers": sys.argv[1], "group.id": "g", "auto.offset.reset": "earliest"})
consumer.subscribe(["words"])
message = None
while message is None or message.error():
    message = consumer.poll(1.0)
print(message.value().decode())
consumer.close()
"""
    with EmbeddedBroker() as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
        producer.produce("words", "größer".encode())
        assert producer.flush(10) == 0
        command = [sys.executable, "-X", "utf8", "-c", reader, broker.bootstrap_servers]
        done = subprocess.run(command, capture_output=True, timeout=60, check=True)
        del producer
    assert done.stdout.decode().strip() == "größer"


def test_a_topic_that_is_made_has_as_many_partitions_as_were_asked_for() -> None:
    with EmbeddedBroker() as broker:
        broker.create_topic("models")
        broker.create_topic("models", partitions=7)
        broker.create_topic("records", partitions=3)
        topics = AdminClient({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0}).list_topics().topics
    assert {name: len(topic.partitions) for name, topic in topics.items()} == {"models": 1, "records": 3}


def test_two_brokers_know_nothing_of_each_other() -> None:
    with EmbeddedBroker() as one, EmbeddedBroker() as other:
        one.create_topic("only-here")
        topics = AdminClient({"bootstrap.servers": other.bootstrap_servers, "log_level": 0}).list_topics().topics
    assert topics == {}


def test_after_close_nobody_answers_and_no_topic_is_made() -> None:
    broker = EmbeddedBroker()
    broker.close()
    broker.close()
    with pytest.raises(KafkaException):
        Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "g", "log_level": 0}).list_topics(
            timeout=0.5
        )
    with pytest.raises(EmbeddedBrokerError, match="closed"):
        broker.create_topic(uuid.uuid4().hex)


def test_an_impossible_topic_is_refused_by_name() -> None:
    with EmbeddedBroker() as broker, pytest.raises(EmbeddedBrokerError, match="nothing"):
        broker.create_topic("nothing", partitions=-1)
