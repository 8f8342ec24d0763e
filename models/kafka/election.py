"""Chooses one process of a group for work that only one of them should do.

Kafka's group protocol assigns a topic with one partition to one member of a consumer group. If that member is killed,
another one takes its place after ten seconds at most. For a moment two may believe that they are chosen, if one has not
noticed yet that it lost the topic: what they do must be harmless if it is done twice.
"""

from __future__ import annotations

from confluent_kafka import Consumer, TopicPartition

from models.kafka.client import KafkaSettings


class Election:
    """The candidacy of this process. Not thread-safe.

    Args:
      kafka: the brokers.
      group: the consumer group, whose members are the candidates.
      topic: a topic with one partition. Its messages are not read.

    Raises:
      SecretUnavailableError, TokenUnavailableError: when a credential cannot be obtained.
    """

    def __init__(self, kafka: KafkaSettings, group: str, topic: str) -> None:
        self.chosen = False
        self._member = kafka.consumer(group, **{"session.timeout.ms": 10_000})
        self._member.subscribe([topic], on_assign=self._assigned, on_revoke=self._revoked)

    def poll(self, seconds: float) -> bool:
        """Takes part in the protocol for up to so many seconds; returns whether this process is chosen."""
        self._member.poll(seconds)
        return self.chosen

    def close(self) -> None:
        """Leaves the group, so that another process is chosen at once."""
        self.chosen = False
        self._member.close()

    def _assigned(self, member: Consumer, partitions: list[TopicPartition]) -> None:
        # The assignment only decides who is chosen.
        for one in partitions:
            one.offset = 0
        member.assign(partitions)
        member.pause(partitions)
        self.chosen = bool(partitions)

    def _revoked(self, member: Consumer, partitions: list[TopicPartition]) -> None:
        self.chosen = False
