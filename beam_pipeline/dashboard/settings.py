"""The settings of the dashboard."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from models.encoding.framing import MessageDecoder
from models.kafka.client import KafkaSettings
from models.records.codecs.base import RecordCodec
from models.results.decoder import ResultDecoder

WINDOW_SECONDS = 600
"""How far back the charts reach."""


@dataclass(frozen=True)
class Topics:
    """The topics that the dashboard reads; a panel whose topic is None is left out.

    Attributes:
      models, results: the topics of model descriptors and of results.
      dead_letters, status, drift: the topics of dead letters, status events and drift events.
      records: the topics of records, from which the time of a record and its message are read.
    """

    models: str
    results: str
    dead_letters: str | None = None
    status: str | None = None
    drift: str | None = None
    records: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """How messages are decoded.

    Attributes:
      results: a decoder for each record type.
      codecs: the codec of each records topic.
      letters: reads dead letters that name their schema in a registry; None without a registry.
    """

    results: tuple[ResultDecoder, ...]
    codecs: Mapping[str, RecordCodec] = field(default_factory=dict)
    letters: MessageDecoder | None = None

    def codec_of(self, topic: str) -> RecordCodec | None:
        """The codec of a records topic, or the only one there is."""
        if topic in self.codecs or len(self.codecs) != 1:
            return self.codecs.get(topic)
        return next(iter(self.codecs.values()))


@dataclass(frozen=True)
class Token:
    """The token that allows actions. Only its digest is kept."""

    digest: bytes

    @classmethod
    def of(cls, text: str) -> Token:
        """The token that consists of this text."""
        return cls(sha256(text.encode()).digest())

    def matches(self, text: str) -> bool:
        """Whether a text is the token, in a time that does not depend on where they differ."""
        return hmac.compare_digest(self.digest, sha256(text.encode("utf-8", "replace")).digest())


@dataclass(frozen=True)
class DashboardSettings:
    """What the dashboard shows, and who may act.

    Attributes:
      kafka: the brokers.
      topics: the topics.
      reading: how messages are decoded.
      deployment: the consumer group of the deployment whose workers are shown; None for all.
      token: the token that allows actions; None if actions are off.
      publish_options: the options of `beam-serving models publish`, as in a configuration file, for the action publish.
      hosts: further host names by which browsers may reach the dashboard.
    """

    kafka: KafkaSettings
    topics: Topics
    reading: Reading
    deployment: str | None = None
    token: Token | None = None
    publish_options: Mapping[str, Any] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
