"""Where drift is reported, and how it is judged."""

from __future__ import annotations

from dataclasses import dataclass, field

from models.kafka.client import KafkaSettings
from models.observing.drift.policy import DriftPolicy


@dataclass(frozen=True)
class DriftSettings:
    """How a deployment watches for drift.

    Attributes:
      kafka: the brokers.
      deployment: the name of the deployment, which is its consumer group.
      models_topic: the topic of descriptors, which may contain baselines.
      topic: the topic of drift events.
      policy: how drift is judged.
      records_a_second: the most records of a version that a worker sketches in a second.
    """

    kafka: KafkaSettings
    deployment: str
    models_topic: str
    topic: str
    policy: DriftPolicy = field(default_factory=DriftPolicy)
    records_a_second: int = 200

    @property
    def sketches_topic(self) -> str:
        """The topic in which workers exchange their sketches."""
        return f"{self.topic}-sketches"
