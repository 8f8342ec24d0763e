"""The drift monitor of a deployment: merges the sketches of the workers and reports drift.

Each worker process runs a monitor, but only one of them acts (`models.kafka.election`). It reads the topic with
sketches from its beginning, so that it continues where another one ended: the topic contains the baselines and up to
where windows were judged. A window that ended while no monitor acted is judged later.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import closing

from confluent_kafka import Consumer, TopicPartition

from models.kafka.election import Election
from models.kafka.message_sender import MessageSender
from models.kafka.topics import COMPACTED, ensure_topic
from models.observing.drift.events import DriftEvent
from models.observing.drift.judge import DriftJudge, News
from models.observing.drift.messages import decode_sketches
from models.observing.drift.published_baselines import PublishedBaselines
from models.observing.drift.settings import DriftSettings
from models.records.outgoing import OutgoingMessage

_LOGGER = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_REST_SECONDS = 5.0
_ANSWER_SECONDS = 10.0
_BATCH = 1_000


class DriftMonitor:
    """Watches a deployment for drift, on a thread of its own.

    Args:
      settings: how the deployment watches for drift.
      sender: sends events, baselines, and up to where windows were judged.

    Attributes:
      acting: whether this monitor is the one that acts.
    """

    def __init__(self, settings: DriftSettings, sender: MessageSender) -> None:
        self._settings = settings
        self._sender = sender
        self.acting = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drift-monitor", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stops the thread, and lets another monitor act."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_ANSWER_SECONDS)

    def _run(self) -> None:
        settings = self._settings
        while not self._stop.is_set():
            try:
                ensure_topic(settings.kafka, settings.topic)
                ensure_topic(settings.kafka, settings.sketches_topic, COMPACTED)
                with closing(Election(settings.kafka, f"{settings.deployment}-drift", settings.models_topic)) as one:
                    while not self._stop.is_set():
                        if one.poll(_LOOK_SECONDS):
                            try:
                                self._act(one)
                            finally:
                                self.acting = False
            except Exception as error:  # windows wait; everything else continues
                _LOGGER.warning("drift is temporarily not watched: %s", error)
                self._stop.wait(_REST_SECONDS)

    def _act(self, election: Election) -> None:
        """Acts until another monitor is chosen."""
        settings = self._settings
        _LOGGER.info("this worker watches %r for drift", settings.deployment)
        baselines = PublishedBaselines(settings.kafka, settings.models_topic)
        judge = DriftJudge(settings.deployment, settings.policy, baselines.find)
        with closing(settings.kafka.standalone_consumer()) as consumer:
            missing = self._assign(consumer)
            while not self._stop.is_set() and election.poll(0):
                for message in consumer.consume(_BATCH, _LOOK_SECONDS):
                    if message.error() is None:
                        self._take(judge, message.value())
                missing = _still_missing(consumer, missing)
                if not missing:
                    self.acting = True
                    for news in judge.judge(time.time_ns() // 1_000_000):
                        self._send(news)

    def _assign(self, consumer: Consumer) -> dict[int, int]:
        """Reads from the beginning; returns the end of each partition that has messages."""
        topic = self._settings.sketches_topic
        partitions = consumer.list_topics(topic, timeout=_ANSWER_SECONDS).topics[topic].partitions
        places = [TopicPartition(topic, one) for one in partitions]
        ends = {}
        for place in places:
            place.offset, ends[place.partition] = consumer.get_watermark_offsets(place, timeout=_ANSWER_SECONDS)
        consumer.assign(places)
        return {place.partition: ends[place.partition] for place in places if place.offset < ends[place.partition]}

    @staticmethod
    def _take(judge: DriftJudge, value: bytes | None) -> None:
        try:
            judge.add(decode_sketches(value or b""))
        except ValueError as error:
            _LOGGER.debug("a message with sketches is malformed: %s", error)

    def _send(self, news: News) -> None:
        settings = self._settings
        if isinstance(news, DriftEvent):
            self._sender.send(OutgoingMessage(settings.topic, news.key, news.to_json()))
            return
        for key, value in news.encoded():
            self._sender.send(OutgoingMessage(settings.sketches_topic, key, value))


def _still_missing(consumer: Consumer, missing: dict[int, int]) -> dict[int, int]:
    """The partitions that have not been read up to the end that they had."""
    if not missing:
        return missing
    positions = {one.partition: one.offset for one in consumer.position(consumer.assignment())}
    return {partition: end for partition, end in missing.items() if positions.get(partition, -1) < end}
