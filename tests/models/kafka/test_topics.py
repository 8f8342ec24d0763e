from __future__ import annotations

import pytest

from models.errors import KafkaUnreachableError, ModelsTopicError, TopicError
from models.kafka.client import KafkaSettings, partition_count
from models.kafka.topics import COMPACTED, check_models_topic, ensure_topic, topic_settings
from tests.models.conftest import SECONDS, Kafka, eventually

NOBODY = KafkaSettings("127.0.0.1:1")


def test_a_missing_topic_is_created_with_its_settings(kafka: Kafka) -> None:
    topic = kafka.topic_names("made")
    ensure_topic(kafka.settings, topic, COMPACTED)
    eventually(lambda: partition_count(kafka.admin, topic, SECONDS) == 1)
    assert topic_settings(kafka.admin, topic)["cleanup.policy"] == "compact"


def test_an_existing_topic_is_left_unchanged(kafka: Kafka) -> None:
    topic = kafka.topic(partitions=2)
    ensure_topic(kafka.settings, topic, COMPACTED)
    assert partition_count(kafka.admin, topic, SECONDS) == 2
    assert topic_settings(kafka.admin, topic)["cleanup.policy"] == "delete"


def test_the_error_for_a_topic_that_cannot_be_created_names_it_and_the_reason(kafka: Kafka) -> None:
    with pytest.raises(TopicError, match="topic 'no topic' is missing and could not be created"):
        ensure_topic(kafka.settings, "no topic")


def test_an_unreachable_broker_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.kafka.topics._SECONDS", 0.2)
    with pytest.raises(KafkaUnreachableError, match="topic 't'"):
        ensure_topic(NOBODY, "t")


def test_a_missing_models_topic_is_created_compacted(kafka: Kafka) -> None:
    topic = kafka.topic_names("models")
    assert check_models_topic(kafka.settings, topic) == 1_048_588
    eventually(lambda: partition_count(kafka.admin, topic, SECONDS) == 1)
    assert topic_settings(kafka.admin, topic)["cleanup.policy"] == "compact"
    assert check_models_topic(kafka.settings, topic) == 1_048_588


def test_the_largest_message_size_comes_from_the_topic(kafka: Kafka) -> None:
    topic = kafka.topic("models", cleanup_policy="compact", max_message_bytes=12_345)
    assert check_models_topic(kafka.settings, topic) == 12_345


@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
def test_a_models_topic_whose_models_would_expire_is_refused_with_the_remedy(kafka: Kafka, policy: str) -> None:
    topic = kafka.topic("models", cleanup_policy=policy)
    with pytest.raises(ModelsTopicError, match=r"cleanup\.policy=.*kafka-configs --alter"):
        check_models_topic(kafka.settings, topic)


def test_a_models_topic_of_two_partitions_is_refused(kafka: Kafka) -> None:
    topic = kafka.topic("models", partitions=2, cleanup_policy="compact")
    with pytest.raises(ModelsTopicError, match="has 2 partitions; it must have one"):
        check_models_topic(kafka.settings, topic)
