"""The ids of topics: which topics they distinguish, and brokers that have none."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka.admin import AdminClient

from models.kafka.client import KafkaSettings
from models.kafka.topic_identities import ANSWER_SECONDS, TopicIdentities
from models.kafka.topics import ensure_topic
from runners.local.embedded_broker import EmbeddedBroker
from runners.local.kafka_broker import LocalBroker
from tests.models.conftest import Kafka, eventually


class CountingAdmin(AdminClient):
    """Counts the requests."""

    questions = 0

    def describe_topics(self, *arguments: Any, **options: Any) -> Any:
        self.questions += 1
        return super().describe_topics(*arguments, **options)


def test_a_topic_has_an_id_and_a_missing_one_has_none(kafka: Kafka) -> None:
    identities = TopicIdentities(kafka.admin)
    one, other = kafka.topic("one"), kafka.topic("other")
    assert "" != identities.of(one) == identities.of(one) != identities.of(other)
    assert identities.of(kafka.topic_names("missing")) == ""
    assert identities.of(one)


def test_a_broker_that_does_not_answer_is_left_alone_for_a_while() -> None:
    now = 0.0
    with EmbeddedBroker() as broker:
        broker.create_topic("models", 1)
        admin = CountingAdmin({"bootstrap.servers": broker.bootstrap_servers})
        identities = TopicIdentities(admin, lambda: now)
        started = time.monotonic()
        assert [identities.of("models") for _ in range(5)] == [""] * 5
        assert admin.questions == 1
        assert time.monotonic() - started < 4 * ANSWER_SECONDS
        now = 601.0
        assert identities.of("models") == ""
        assert admin.questions == 2


def test_a_broker_that_is_away_has_no_ids() -> None:
    assert TopicIdentities(KafkaSettings("127.0.0.1:9").admin()).of("models") == ""


def test_a_broker_that_was_away_is_asked_as_soon_as_it_is_back() -> None:
    with LocalBroker() as broker:
        kafka = KafkaSettings(broker.bootstrap_servers)
        ensure_topic(kafka, "models")
        identities = TopicIdentities(kafka.admin(), lambda: 0.0)
        before = identities.of("models")
        broker.stop()
        assert identities.of("models") == ""
        broker.start()
        assert eventually(lambda: identities.of("models")) == before != ""
