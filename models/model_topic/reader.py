"""Reads the models topic in a worker: catches up to a position, and fetches the bytes of inline models."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
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
from models.kafka.partition_reader import topic_identity
from models.model_topic.catalog import ModelCatalog
from models.model_topic.descriptor import ModelDescriptor, decode_message

_LOGGER = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_ANSWER_SECONDS = 10.0
_BATCH = 500
# The end of the topic is told when a request for more was answered with nothing, after this pause; by default half a
# second, for which each start, and the second of two fetches, would wait.
_CONFIG = {"enable.partition.eof": True, "fetch.wait.max.ms": 20}


@dataclass(frozen=True)
class TopicState:
    """Which topic of that name there is now.

    Attributes:
      topic_id: changes when the topic is recreated; empty where the broker does not provide one.
      end: the position behind the last message that can be read; 0 also when the topic does not exist.
    """

    topic_id: str
    end: int


class ModelsTopicReader:
    """Reads the one partition of the models topic from its beginning. Used by one thread.

    Args:
      kafka: the brokers.
      topic: the models topic.
      timeout: seconds after which a silent broker is an error.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, timeout: float = 30.0) -> None:
        self._kafka = kafka
        self._topic = topic
        self._timeout = timeout
        self._following: Consumer | None = None
        self._fetching: Consumer | None = None
        self._admin: AdminClient | None = None
        self._logged: set[int] = set()

    def look(self) -> TopicState:
        """Which topic there is now, and where it ends; raises as `end` does."""
        topic_id = topic_identity(self._describer(), self._topic)  # first: a newer end is found out at the next look
        return TopicState(topic_id, self.end())

    def end(self) -> int:
        """The position behind the last message that can be read now; 0 when the topic does not exist.

        What was published behind a transaction that is still open cannot be read until that has ended.

        Raises:
          KafkaUnreachableError: when no broker answers.
          ModelsTopicError: when the topic has more than one partition, or may not be read.
        """
        return self._end(self._follower())

    def written_end(self) -> int:
        """The position behind the last message, also of transactions that are still open; else as `end`."""
        consumer = self._kafka.consumer("models", **{"isolation.level": "read_uncommitted"})
        try:
            return self._end(consumer)
        finally:
            consumer.close()

    def _end(self, consumer: Consumer) -> int:
        partitions = partition_count(consumer, self._topic, _ANSWER_SECONDS)
        if partitions > 1:
            raise ModelsTopicError(
                f"models topic {self._topic!r} has {partitions} partitions; it must have one: its offsets are the order"
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
        """Applies all messages below `position`; a malformed one is skipped, for the source reports it.

        Raises:
          KafkaUnreachableError: when the broker is silent for the time-out; what was read is applied.
          ModelsTopicCutError: when messages are gone that were there before.
          ModelsTopicError: when the topic may not be read.
        """
        while catalog.position < position:
            for message in self._next_messages(catalog.position):
                error = message.error()
                if error is None:
                    _apply(catalog, message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    catalog.skip_to(message.offset())
                elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                    raise ModelsTopicCutError(f"models topic {self._topic!r} was recreated or cut short: {error.str()}")
                else:
                    self._take_note(error)

    def fetch(self, offset: int) -> bytes:
        """The model's bytes in the message at `offset`.

        Raises:
          ModelLoadError: when the message is gone, is no inline model, or does not come in time.
        """
        if self._fetching is None:
            self._fetching = self._kafka.consumer("models", **_CONFIG)
        self._fetching.assign([TopicPartition(self._topic, 0, offset)])
        try:
            descriptor = self._descriptor_at(self._fetching, offset)
        finally:
            self._fetching.unassign()
        if descriptor.model_bytes is None:
            raise ModelLoadError(f"the message at {self._topic}-0@{offset} holds no model bytes")
        return descriptor.model_bytes

    def close(self) -> None:
        """Closes the consumers; the next call opens new ones, which know nothing of an earlier topic."""
        consumers = self._following, self._fetching
        self._following = self._fetching = self._admin = None
        for consumer in consumers:
            if consumer is not None:
                consumer.close()

    def _describer(self) -> AdminClient:
        if self._admin is None:
            self._admin = self._kafka.admin()
        return self._admin

    def _check_allowed(self) -> None:
        """Raises ModelsTopicError when the topic is missing only for this user: a listing leaves it out silently."""
        try:
            check_not_forbidden(self._describer(), self._topic, _ANSWER_SECONDS)
        except TopicForbiddenError as error:
            raise ModelsTopicError(f"models {error}") from error

    def _forbidden(self) -> ModelsTopicError:
        return ModelsTopicError(f"models {TopicForbiddenError.of(self._topic)}")

    def _take_note(self, error: KafkaError) -> None:
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise self._forbidden()
        if error.code() not in self._logged:
            self._logged.add(error.code())
            _LOGGER.warning("models topic %r: %s; trying again", self._topic, error.str())

    def _follower(self) -> Consumer:
        if self._following is None:
            self._following = self._kafka.consumer("models", **_CONFIG)
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
        raise KafkaUnreachableError(f"models topic {self._topic!r}: silent for {self._timeout:g} s")

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
        raise ModelLoadError(f"the message at {self._topic}-0@{offset} did not come in {self._timeout:g} s")


def _apply(catalog: ModelCatalog, message: Message) -> None:
    try:
        catalog.apply(message.offset(), message.key(), message.value())
    except DescriptorError as error:
        _LOGGER.debug("descriptor at offset %d skipped: %s", message.offset(), error)
