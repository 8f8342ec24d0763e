"""Reads the models topic: catches up to a position, and fetches the bytes of inline models."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from models.errors import (
    DescriptorError,
    KafkaUnreachableError,
    ModelLoadError,
    ModelsTopicCutError,
    ModelsTopicError,
    TopicForbiddenError,
)
from models.kafka.client import ConnectionLog, KafkaSettings, check_not_forbidden, partition_count
from models.kafka.topic_identities import TopicIdentities
from models.model_topic.catalog import ModelCatalog
from models.model_topic.descriptor import ModelDescriptor, decode_message

_LOGGER = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_ANSWER_SECONDS = 10.0
_BATCH = 500
# librdkafka reports the end of the topic once the broker has answered a fetch with no messages, which it does after
# this wait. With the default of half a second, every start, and every other fetch, would be delayed by that much.
_CONFIG = {"enable.partition.eof": True, "fetch.wait.max.ms": 20}


@dataclass(frozen=True)
class TopicState:
    """The current state of the models topic.

    Attributes:
      topic_id: changes when the topic is recreated; empty if the broker does not provide one.
      end: the position after the last readable message; 0 if the topic is empty or does not exist.
    """

    topic_id: str
    end: int


class ModelsTopicReader:
    """Reads the one partition of the models topic from its beginning. Used by one thread.

    The clients are opened at first use; `close` closes them, and the reader can be used again after that.

    Args:
      kafka: the brokers.
      topic: the models topic.
      timeout: the number of seconds without an answer from the broker after which a call fails.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, timeout: float = 30.0) -> None:
        self._kafka = kafka
        self._topic = topic
        self._timeout = timeout
        self._following: Consumer | None = None
        self._fetching: Consumer | None = None
        self._admin: AdminClient | None = None
        self._identities: TopicIdentities | None = None
        self._logged: set[int] = set()

    def look(self) -> TopicState:
        """The topic's id and its end; raises as `end` does."""
        # The id comes first: if the topic is recreated in between, the next call sees the new id.
        if self._identities is None:
            self._identities = TopicIdentities(self._describer())
        topic_id = self._identities.of(self._topic)
        return TopicState(topic_id, self.end())

    def end(self) -> int:
        """The position after the last message that can be read now; 0 when the topic does not exist.

        Messages behind an open transaction cannot be read until it ends.

        Raises:
          KafkaUnreachableError: no broker answers.
          ModelsTopicError: the topic has more than one partition, or may not be read.
        """
        return self._end(self._follower())

    def written_end(self) -> int:
        """The position after the last message, including those of open transactions; raises as `end` does."""
        consumer = self._kafka.standalone_consumer(**{"isolation.level": "read_uncommitted"})
        try:
            return self._end(consumer)
        finally:
            consumer.close()

    def _end(self, consumer: Consumer) -> int:
        partitions = partition_count(consumer, self._topic, _ANSWER_SECONDS)
        if partitions > 1:
            raise ModelsTopicError(
                f"models topic {self._topic!r} has {partitions} partitions; it must have one, because its offsets "
                "define the order of updates"
            )
        if not partitions:
            self._check_allowed()
            return 0
        try:
            _, high = consumer.get_watermark_offsets(TopicPartition(self._topic, 0), timeout=self._timeout)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise self._forbidden() from error
            raise KafkaUnreachableError(f"models topic {self._topic!r}: {error.args[0].str()}") from error
        ConnectionLog.answered(self._kafka.bootstrap_servers)
        return int(high)

    def catch_up(self, catalog: ModelCatalog, position: int) -> None:
        """Applies all messages below `position`; malformed ones are skipped, because the source reports them.

        Raises:
          KafkaUnreachableError: the broker does not answer within the timeout; the messages read so far are
            applied.
          ModelsTopicCutError: messages that existed before are gone.
          ModelsTopicError: the topic may not be read.
        """
        while catalog.position < position:
            messages = list(self._next_messages(catalog.position))
            _apply(catalog, [message for message in messages if message.error() is None])
            for message in messages:
                error = message.error()
                if error is None:
                    continue
                if error.code() == KafkaError._PARTITION_EOF:
                    catalog.skip_to(message.offset())
                elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                    raise ModelsTopicCutError(f"models topic {self._topic!r} was recreated or truncated: {error.str()}")
                else:
                    self._check_error(error)

    def fetch(self, offset: int) -> bytes:
        """The model's bytes in the message at `offset`.

        Raises:
          ModelLoadError: the message is gone, does not contain an inline model, or does not arrive in time.
        """
        if self._fetching is None:
            self._fetching = self._kafka.standalone_consumer(**_CONFIG)
        self._fetching.assign([TopicPartition(self._topic, 0, offset)])
        try:
            descriptor = self._descriptor_at(self._fetching, offset)
        finally:
            self._fetching.unassign()
        if descriptor.model_bytes is None:
            raise ModelLoadError(f"the message at {self._topic}-0@{offset} contains no model bytes")
        return descriptor.model_bytes

    def close(self) -> None:
        """Closes the consumers; the next call opens new ones, without the metadata of an earlier topic."""
        consumers = self._following, self._fetching
        self._following = self._fetching = self._admin = self._identities = None
        for consumer in consumers:
            if consumer is not None:
                consumer.close()

    def _describer(self) -> AdminClient:
        if self._admin is None:
            self._admin = self._kafka.admin()
        return self._admin

    def _check_allowed(self) -> None:
        """Raises ModelsTopicError when the topic only seems to be missing because this user may not describe it."""
        try:
            check_not_forbidden(self._describer(), self._topic, _ANSWER_SECONDS)
        except TopicForbiddenError as error:
            raise ModelsTopicError(f"models {error}") from error

    def _forbidden(self) -> ModelsTopicError:
        return ModelsTopicError(f"models {TopicForbiddenError.of(self._topic)}")

    def _check_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise self._forbidden()
        if error.code() not in self._logged:
            self._logged.add(error.code())
            _LOGGER.warning("models topic %r: %s; trying again", self._topic, error.str())

    def _follower(self) -> Consumer:
        if self._following is None:
            self._following = self._kafka.standalone_consumer(**_CONFIG)
        return self._following

    def _next_messages(self, position: int) -> Iterator[Message]:
        consumer = self._follower()
        if not consumer.assignment():
            consumer.assign([TopicPartition(self._topic, 0, position)])
        deadline = time.monotonic() + self._timeout
        while time.monotonic() < deadline:
            messages = consumer.consume(1, _POLL_SECONDS)
            if messages:
                ConnectionLog.answered(self._kafka.bootstrap_servers)
                yield from messages
                yield from consumer.consume(_BATCH, 0)
                return
        raise KafkaUnreachableError(f"models topic {self._topic!r}: no answer for {self._timeout:g} s")

    def _descriptor_at(self, consumer: Consumer, offset: int) -> ModelDescriptor:
        deadline = time.monotonic() + self._timeout
        while time.monotonic() < deadline:
            message = consumer.poll(_POLL_SECONDS)
            if message is None:
                continue
            error = message.error()
            if error is not None and error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise ModelLoadError(str(self._forbidden()))
            if error is not None or message.offset() != offset:
                raise ModelLoadError(f"the message at {self._topic}-0@{offset} is gone; publish the model again")
            try:
                descriptor = decode_message(message.value() or b"")
            except DescriptorError as malformed:
                raise ModelLoadError(f"the message at {self._topic}-0@{offset}: {malformed}") from malformed
            if isinstance(descriptor, ModelDescriptor):
                return descriptor
            raise ModelLoadError(f"the message at {self._topic}-0@{offset} is a pointer")
        raise ModelLoadError(f"the message at {self._topic}-0@{offset} did not arrive within {self._timeout:g} s")


def _apply(catalog: ModelCatalog, messages: Sequence[Message]) -> None:
    found = [(message.offset() or 0, message.key(), message.value()) for message in messages]
    for offset, error in catalog.apply_all(found):
        _LOGGER.debug("descriptor at offset %d skipped: %s", offset, error)
