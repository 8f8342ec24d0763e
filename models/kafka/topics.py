"""Creates topics, and checks their settings."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import TimeoutError

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from models.errors import ModelsTopicError, TopicError
from models.kafka.client import KafkaSettings, partition_count

_SECONDS = 10.0
_SETTINGS_SECONDS = 3.0
DEFAULT_MAX_MESSAGE_BYTES = 1_048_588  # the default of Kafka's max.message.bytes
COMPACTED = {"cleanup.policy": "compact"}


def ensure_topic(kafka: KafkaSettings, topic: str, config: Mapping[str, str] | None = None) -> None:
    """Creates a topic with one partition if it is missing.

    If the broker does not support the request, it is expected to create the topic at first use.

    Raises:
      KafkaUnreachableError: when no broker answers.
      TopicError: when the broker refuses, or does not answer the request to create the topic.
    """
    admin = kafka.admin()
    if partition_count(admin, topic, _SECONDS):
        return
    future = admin.create_topics([NewTopic(topic, 1, -1, config=dict(config or {}))])[topic]
    try:
        future.result(_SECONDS)
    except KafkaException as error:
        if error.args[0].code() not in (KafkaError.TOPIC_ALREADY_EXISTS, KafkaError._UNSUPPORTED_FEATURE):
            raise TopicError(
                f"topic {topic!r} is missing and could not be created: {error.args[0].str()}; create it by hand"
            ) from error
    except TimeoutError as error:  # librdkafka's mock cluster never answers, although the topic may exist by now
        if not partition_count(admin, topic, _SECONDS):
            raise TopicError(
                f"topic {topic!r} is missing, and the broker did not answer the request to create it within "
                f"{_SECONDS:g} s; create it by hand"
            ) from error


def check_models_topic(kafka: KafkaSettings, topic: str) -> int:
    """Creates the models topic if it is missing, and rejects one that cannot hold the persisted state.

    Returns:
      The size in bytes of the largest message that the topic accepts; Kafka's default if the broker does not report it.

    Raises:
      KafkaUnreachableError: when no broker answers.
      ModelsTopicError: when it has several partitions, or its cleanup policy is not compact alone.
      TopicError: when it is missing and cannot be created.
    """
    ensure_topic(kafka, topic, COMPACTED)
    partitions = partition_count(kafka.admin(), topic, _SECONDS)
    if partitions > 1:
        raise ModelsTopicError(
            f"models topic {topic!r} has {partitions} partitions; it must have one, because its offsets define the "
            "order of updates"
        )
    settings = topic_settings(kafka.admin(), topic)
    policy = settings.get("cleanup.policy", "compact")
    if policy != "compact":
        raise ModelsTopicError(
            f"models topic {topic!r} has cleanup.policy={policy}, so that models would expire; "
            "set it to 'compact' alone (kafka-configs --alter --add-config cleanup.policy=compact)"
        )
    return int(settings.get("max.message.bytes", DEFAULT_MAX_MESSAGE_BYTES))


def topic_settings(admin: AdminClient, topic: str) -> dict[str, str]:
    """The settings of a topic; empty if the broker does not report them (librdkafka's mock cluster never answers)."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        settings = admin.describe_configs([resource], request_timeout=_SETTINGS_SECONDS)[resource].result()
    except KafkaException:
        return {}
    return {name: str(entry.value) for name, entry in settings.items()}
