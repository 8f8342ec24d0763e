"""Follows the feedback topic: bandits learn from its rewards, and its labels show how good a candidate is.

The key of a message is the coordinates of a record, TOPIC-PARTITION-OFFSET. The value of a reward is JSON that repeats
the fields of the step in the result:

    {"graph": "loan", "step": "tried", "model": "a", "version": 3, "reward": 1}

`version` may be null, as in the result. The reward is between 0 and 1. A later message for the same record and step
replaces an earlier one.

The value of a label is the ground truth, with the name of the output if the model has several:

    {"label": 2, "output": "quality"}

Only the first label of an answer counts; `models.guarding.awaited_labels` describes the outcomes of labels.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from models.columns.labels import Label
from models.errors import FeedbackError, ServingError
from models.graphs.bandits import Choice, Rewards
from models.kafka.client import KafkaSettings, partition_count

_LOGGER = logging.getLogger(__name__)

TakeLabel = Callable[[bytes, Label], object]

_POLL_SECONDS = 0.2
_LOOK_SECONDS = 10.0
_ANSWER_SECONDS = 10.0
_BATCH = 1000


@dataclass(frozen=True)
class Reward:
    """The reward of a bandit's answer, between 0 and 1."""

    choice: Choice
    value: float


def parse_feedback(key: bytes | None, value: bytes | None) -> tuple[bytes, Reward | Label]:
    """Parses a message to the coordinates of the record and its reward or label.

    Raises:
      FeedbackError: the message is malformed.

    >>> parse_feedback(b"t-0-7", b'{"graph": "g", "step": "s", "model": "m", "version": 1, "reward": 1}')
    (b't-0-7', Reward(choice=Choice(graph='g', step='s', model='m', version=1), value=1.0))
    >>> parse_feedback(b"t-0-7", b'{"label": "red"}')
    (b't-0-7', Label(value='red', output=None))
    """
    if not key or not value:
        raise FeedbackError("feedback needs the coordinates of a record as its key, and a value")
    try:
        content = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise FeedbackError(f"feedback is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise FeedbackError("feedback is not a JSON object")
    return key, _label(content) if "label" in content else _reward_of(content)


def _label(content: dict[str, Any]) -> Label:
    value, output = content["label"], content.get("output")
    if not isinstance(value, (bool, int, float, str)):
        raise FeedbackError(f"`label` is a number, a boolean or a text, not {value!r}")
    if output is not None and not isinstance(output, str):
        raise FeedbackError(f"`output` is the name of an output, not {output!r}")
    unknown = sorted(content.keys() - {"label", "output"})
    if unknown:
        raise FeedbackError(f"feedback with a `label` may also contain `output`, but not {unknown[0]!r}")
    return Label(value, output)


def _reward_of(content: dict[str, Any]) -> Reward:
    graph, step, model = (_text(content, name) for name in ("graph", "step", "model"))
    version = content.get("version")
    if version is not None and type(version) is not int:
        raise FeedbackError(f"`version` is a whole number or null, not {version!r}")
    return Reward(Choice(graph, step, model, version), _reward(content))


def _text(content: dict[str, Any], name: str) -> str:
    found = content.get(name)
    if not isinstance(found, str):
        raise FeedbackError(f"feedback must name `graph`, `step` and `model`, as in the result; `{name}` is {found!r}")
    return found


def _reward(content: dict[str, Any]) -> float:
    found = content.get("reward")
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 <= found <= 1:
        raise FeedbackError(f"`reward` is a number from 0 to 1, not {found!r}")
    return float(found)


class FeedbackFollower:
    """Reads the feedback topic from its beginning, on a thread of its own. It logs outages and survives them.

    Args:
      kafka: the brokers.
      topic: the feedback topic, which may be missing at first.
      rewards: receives the rewards.
      takers: receive the labels, by the coordinates of their records.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, rewards: Rewards, *takers: TakeLabel) -> None:
        self._kafka = kafka
        self._topic = topic
        self._rewards = rewards
        self._takers = takers
        self._closed = threading.Event()
        self._malformed = 0
        self._thread = threading.Thread(target=self._run, name="feedback", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stops the thread, and waits until it has finished its current work."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(_ANSWER_SECONDS + _LOOK_SECONDS)

    def _run(self) -> None:
        consumer = self._consumer()
        if consumer is None:
            return
        try:
            assigned, look_at = 0, 0.0
            while not self._closed.is_set():
                if time.monotonic() >= look_at:
                    assigned = self._assign(consumer, assigned)
                    look_at = time.monotonic() + (_LOOK_SECONDS if assigned else _POLL_SECONDS)
                if not assigned:
                    self._closed.wait(_POLL_SECONDS)
                    continue
                for message in consumer.consume(_BATCH, _POLL_SECONDS):
                    self._take(message)
        finally:
            consumer.close()

    def _consumer(self) -> Consumer | None:
        """The consumer, once its credentials can be obtained; None if the thread was stopped."""
        while not self._closed.is_set():
            try:
                # A topic that was recreated is read from its beginning.
                return self._kafka.standalone_consumer(**{"auto.offset.reset": "earliest"})
            except ServingError as error:
                _LOGGER.warning("feedback topic %r: %s; trying again", self._topic, error)
                self._closed.wait(_LOOK_SECONDS)
        return None

    def _assign(self, consumer: Consumer, assigned: int) -> int:
        """Also reads partitions that were added; returns the number of partitions that are read."""
        try:
            found = partition_count(consumer, self._topic, _ANSWER_SECONDS)
        except ServingError as error:
            _LOGGER.warning("%s; trying again", error)
            return assigned
        new = [TopicPartition(self._topic, number, OFFSET_BEGINNING) for number in range(assigned, found)]
        if new:
            consumer.incremental_assign(new)
        return max(found, assigned)

    def _take(self, message: Message) -> None:
        if message.error():
            _LOGGER.warning("feedback topic %r: %s", self._topic, message.error().str())
            return
        try:
            coordinates, feedback = parse_feedback(message.key(), message.value())
            if isinstance(feedback, Label):
                for take in self._takers:
                    take(coordinates, feedback)
            else:
                self._rewards.add(coordinates, feedback.choice, feedback.value)
        except FeedbackError as error:
            self._malformed += 1
            if self._malformed & (self._malformed - 1) == 0:  # the first, second, fourth, eighth ...
                where = f"{message.topic()}-{message.partition()}-{message.offset()}"
                _LOGGER.warning("%s: %s; malformed feedback so far: %d", where, error, self._malformed)
