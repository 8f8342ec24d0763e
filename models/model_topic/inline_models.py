"""Fetches the bytes of inline models, for threads that load models."""

from __future__ import annotations

import threading

from models.kafka.client import KafkaSettings
from models.model_topic.reader import ModelsTopicReader


class InlineModels:
    """The bytes of models in the models topic. Thread-safe.

    The consumer is opened at the first fetch. After an error it is opened again, without the old metadata of a topic
    that may have been recreated.

    Args:
      kafka: the brokers.
      topic: the models topic.
    """

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._lock = threading.Lock()
        self._reader = ModelsTopicReader(kafka, topic)

    def fetch(self, offset: int) -> bytes:
        """The bytes in the message at `offset`; raises ModelLoadError as `ModelsTopicReader.fetch` does."""
        with self._lock:
            try:
                return self._reader.fetch(offset)
            except Exception:
                self._reader.close()
                raise

    def close(self) -> None:
        """Closes the consumer."""
        with self._lock:
            self._reader.close()
