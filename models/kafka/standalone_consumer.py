"""A consumer that belongs to no group."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Consumer, KafkaError, Message

GROUP = "beam-serving"
"""The name of the group that librdkafka demands."""


class StandaloneConsumer(Consumer):
    """Reads the partitions that the caller assigns; it joins no group and commits nothing.

    librdkafka looks for the coordinator of its group even so. The broker's answer that this user may not use the group
    is left out of what arrives, because nothing depends on it: rights on topics are enough.
    """

    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[Message]:
        """The messages and errors that arrive, as `Consumer.consume`; perhaps none before the time is over."""
        return [message for message in super().consume(num_messages, timeout) if not _denies_the_group(message)]

    def poll(self, timeout: float = -1) -> Message | None:
        """The message or error that arrives, as `Consumer.poll`; perhaps None before the time is over."""
        message: Any = super().poll(timeout)
        return None if message is None or _denies_the_group(message) else message


def _denies_the_group(message: Message) -> bool:
    error = message.error()
    return error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
