"""Kafka transactions on the models topic.

The id of a transaction is derived from the model or route that it changes. When two publishers change the same one at
once, Kafka fences one of them before its messages become visible. Publishing therefore requires a broker that supports
transactions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, suppress

from confluent_kafka import KafkaException, Message, Producer

from models.errors import PublishError
from models.kafka.client import KafkaSettings
from models.model_topic.catalog import ModelCatalog
from models.model_topic.reader import ModelsTopicReader

SECONDS = 30.0
# The broker aborts the transaction of a crashed publisher after this time; until then readers wait for it.
_TRANSACTION_MS = 30_000


class TopicTransactions:
    """Reads the models topic and writes to it, for publishers.

    Each call opens its own clients and closes its readers, so an instance holds no connection between calls.

    Args:
      kafka: the brokers.
      topic: the models topic.
    """

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self.kafka = kafka
        self.topic = topic

    def read(self) -> ModelCatalog:
        """The catalog of everything written so far; waits for transactions that are open or just committed.

        Messages of one publisher may be committed behind the open transaction of another one, and cannot be read until
        that transaction ends. Without the wait their version numbers would be assigned again.

        Raises:
          KafkaUnreachableError: no broker answers, or an open transaction does not end in time.
          ModelsTopicError: the topic cannot be used.
        """
        catalog = ModelCatalog()
        with closing(ModelsTopicReader(self.kafka, self.topic, timeout=2 * SECONDS)) as reader:
            reader.catch_up(catalog, reader.written_end())
        return catalog

    def producer(self, name: str) -> Producer:
        """A producer for the transactions that change the model or route of this name; it fences all earlier ones.

        Raises:
          PublishError: the broker does not start transactions.
        """
        config = {"transactional.id": f"beam-serving.{self.topic}.{name}", "transaction.timeout.ms": _TRANSACTION_MS}
        producer = self.kafka.producer(**config)
        try:
            producer.init_transactions(SECONDS)
        except KafkaException as error:
            raise PublishError(
                f"topic {self.topic!r}: the broker did not start a transaction: {error.args[0].str()}"
            ) from error
        return producer

    def write(self, producer: Producer, messages: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Writes either all of the messages or none of them.

        Raises:
          PublishError: they could not be written, for example because another publisher was faster.
        """
        try:
            producer.begin_transaction()
            for key, value in messages:
                producer.produce(self.topic, value, key, partition=0)
            producer.commit_transaction(SECONDS)
        except KafkaException as error:
            raise self._failed(producer, error) from error

    def write_if(self, producer: Producer, key: bytes, value: bytes, may_commit: Callable[[int], bool]) -> bool:
        """Writes a message and commits it if `may_commit`, given its offset, returns True; otherwise nothing changes.

        Raises:
          PublishError: as `write` does.
        """
        written: list[Message] = []
        try:
            producer.begin_transaction()
            producer.produce(
                self.topic, value, key, partition=0, on_delivery=lambda _, message: written.append(message)
            )
            producer.flush(SECONDS)
            offset = written[0].offset() if written and written[0].error() is None else None
            if offset is not None and may_commit(offset):
                producer.commit_transaction(SECONDS)
                return True
        except KafkaException as error:
            raise self._failed(producer, error) from error
        except BaseException:
            _abort(producer)
            raise
        _abort(producer)
        return False

    def _failed(self, producer: Producer, error: KafkaException) -> PublishError:
        _abort(producer)
        reason = error.args[0].str()
        return PublishError(
            f"topic {self.topic!r}: nothing was published: {reason}; if another publisher was active, try again"
        )


def _abort(producer: Producer) -> None:
    """Aborts the transaction, because readers cannot get past an open one; does nothing for a fenced producer."""
    with suppress(KafkaException):
        producer.abort_transaction(SECONDS)
