"""The baselines that travel with models, in their descriptors."""

from __future__ import annotations

import logging
from contextlib import closing

from models.kafka.client import KafkaSettings
from models.model_topic.catalog import ModelCatalog
from models.model_topic.reader import ModelsTopicReader
from models.observing.drift.messages import ModelVersion
from models.observing.drift.profile import Profile

_LOGGER = logging.getLogger(__name__)


class PublishedBaselines:
    """Looks up baselines in the models topic.

    Args:
      kafka: the brokers.
      topic: the models topic.
    """

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._kafka = kafka
        self._topic = topic
        self._catalog = ModelCatalog()

    def find(self, of: ModelVersion) -> Profile | None:
        """The baseline of a version; None if it has none.

        Raises:
          KafkaUnreachableError, ModelsTopicError: the topic cannot be read.
        """
        with closing(ModelsTopicReader(self._kafka, self._topic)) as reader:
            reader.catch_up(self._catalog, reader.end())
        published = self._catalog.versions.get((of.model, of.version))
        if published is None or published.descriptor.baseline is None:
            return None
        try:
            return Profile.from_bytes(published.descriptor.baseline)
        except ValueError as error:
            _LOGGER.warning("the baseline of %s is ignored: %s", published.label, error)
            return None
