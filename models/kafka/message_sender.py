"""Sends messages that may be lost to Kafka, without waiting for the broker."""

from __future__ import annotations

import logging
import threading

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from models.kafka.client import KafkaSettings
from models.records.outgoing import OutgoingMessage

_LOGGER = logging.getLogger(__name__)

_CLOSE_SECONDS = 2.0


class MessageSender:
    """Sends messages without waiting for their delivery. Thread-safe.

    Failures are logged once for each kind of error. The producer is opened with the first message.

    Args:
      kafka: the brokers.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._logged: set[int] = set()

    def send(self, message: OutgoingMessage) -> None:
        """Hands a message to the producer; raises BufferError when its queue is full."""
        with self._lock:
            if self._producer is None:
                self._producer = self._kafka.producer(**{"delivery.report.only.error": True})
            producer = self._producer
        try:
            producer.produce(
                message.topic,
                message.value,
                message.key,
                headers=list(message.headers) or None,
                on_delivery=self._on_failure,
            )
        except KafkaException as error:
            self._log(message.topic, error.args[0])
        producer.poll(0)

    def close(self) -> None:
        """Waits up to two seconds for the delivery of the messages that have been handed over."""
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            producer.flush(_CLOSE_SECONDS)

    def _on_failure(self, error: KafkaError, message: Message) -> None:
        self._log(message.topic(), error)

    def _log(self, topic: str | None, error: KafkaError) -> None:
        if error.code() not in self._logged:
            self._logged.add(error.code())
            _LOGGER.warning("topic %r: messages were not delivered: %s", topic, error.str())
