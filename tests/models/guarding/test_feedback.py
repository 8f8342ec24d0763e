from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from confluent_kafka.admin import NewPartitions, NewTopic

from models.columns.labels import LabelledAnswer
from models.columns.outputs import RecordOutputs
from models.columns.scored import ModelCall, ScoredRecords
from models.graphs.bandits import Choice, Rewards, Tally
from models.guarding import feedback
from models.guarding.awaited_labels import AwaitedLabels
from models.guarding.feedback import FeedbackFollower
from models.kafka.client import KafkaSettings
from models.status.arm_tallies import Key
from runners.local.kafka_broker import LocalBroker

CHOICE = Choice("loan", "tried", "wine", 3)


class Feedback:
    """A feedback topic that does not exist yet, and a follower of it."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.kafka = kafka
        self.topic = f"feedback-{uuid.uuid4().hex[:8]}"
        self.rewards = Rewards()
        self.labelled: list[tuple[Key, LabelledAnswer]] = []
        self.labels = AwaitedLabels(lambda key, answer: self.labelled.append((key, answer)))
        self.follower = FeedbackFollower(kafka, self.topic, self.rewards, self.labels.add)
        self.producer, self.admin = kafka.producer(), kafka.admin()

    def create(self) -> None:
        self.admin.create_topics([NewTopic(self.topic, 1, 1)])[self.topic].result(30)

    def send(self, offset: int, reward: object, partition: int = 0) -> None:
        self.write(
            offset, {"graph": "loan", "step": "tried", "model": "wine", "version": 3, "reward": reward}, partition
        )

    def write(self, offset: int, value: object, partition: int = 0) -> None:
        self.producer.produce(self.topic, json.dumps(value).encode(), f"records-0-{offset}".encode(), partition)
        assert self.producer.flush(30) == 0


@pytest.fixture
def topic(broker: LocalBroker) -> Iterator[Feedback]:
    made = Feedback(KafkaSettings(broker.bootstrap_servers))
    yield made
    made.follower.close()


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_rewards_are_read_from_the_beginning_and_malformed_ones_are_skipped(topic: Feedback) -> None:
    topic.create()
    topic.send(1, 1)
    topic.send(2, "much")
    topic.send(3, 0.25)
    topic.follower.start()
    eventually(lambda: topic.rewards.of(CHOICE) == Tally(2, 1.25))
    topic.send(1, 0)
    eventually(lambda: topic.rewards.of(CHOICE) == Tally(2, 0.25))


def test_a_topic_and_partitions_that_come_later_are_followed(topic: Feedback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback, "_LOOK_SECONDS", 0.5)
    topic.follower.start()
    topic.create()
    topic.send(1, 1)
    eventually(lambda: topic.rewards.of(CHOICE) == Tally(1, 1.0))
    topic.admin.create_partitions([NewPartitions(topic.topic, 2)])[topic.topic].result(30)
    sender = topic.kafka.producer()
    eventually(lambda: len(sender.list_topics(topic.topic, 10).topics[topic.topic].partitions) == 2)
    topic.producer = sender
    topic.send(2, 1, partition=1)
    eventually(lambda: topic.rewards.of(CHOICE) == Tally(2, 2.0))


def test_labels_reach_the_answers_that_wait_for_them_and_malformed_ones_are_skipped(topic: Feedback) -> None:
    topic.create()
    scored = ScoredRecords(np.arange(2), ModelCall(None, 0, 1, 2), RecordOutputs({"y": np.array([1, 2])}, None))
    key = ("wine", 7, "canary")
    topic.labels.remember(key, scored, [b"records-0-4", b"records-0-5"], 0.0)
    topic.write(4, {"label": [1]})
    topic.write(4, {"label": 1, "output": "y"})
    topic.write(9, {"label": 1})
    topic.write(4, {"label": 1})
    topic.write(5, {"label": 3})
    topic.follower.start()
    eventually(lambda: len(topic.labelled) == 2)
    assert topic.labelled == [(key, LabelledAnswer(True, 0.0)), (key, LabelledAnswer(False, 1.0))]
    assert topic.labels.outcomes == {"counted": 2, "unknown": 1, "duplicate": 1}
