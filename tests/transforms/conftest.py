"""Kafka for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from confluent_kafka import Message

from models.kafka.client import KafkaSettings
from runners.local.kafka_broker import LocalBroker

Put = Callable[..., None]


@pytest.fixture(scope="session")
def kafka(broker: LocalBroker) -> KafkaSettings:
    return KafkaSettings(broker.bootstrap_servers)


@pytest.fixture
def put(kafka: KafkaSettings) -> Put:
    """Writes messages to a topic, and waits until they are acknowledged."""
    producer = kafka.producer()

    def write(topic: str, values: Sequence[bytes], key: bytes | None = None, partition: int = 0) -> None:
        def delivered(error: object, message: Message) -> None:
            assert error is None, error

        for value in values:
            producer.produce(topic, value, key, partition, on_delivery=delivered)
        assert producer.flush(30) == 0

    return write
