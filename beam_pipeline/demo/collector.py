"""Reads the pipeline's output (results, status events and dead letters) into the scoreboard."""

from __future__ import annotations

import logging
import threading

from confluent_kafka import OFFSET_BEGINNING, Message, TopicPartition

from beam_pipeline.demo.scoreboard import Scoreboard
from beam_pipeline.demo.topics import DemoTopics
from models.errors import StatusEventError
from models.kafka.client import KafkaSettings
from models.records.record_type import RecordType
from models.results.dead_letter import decode_dead_letter
from models.results.decoder import ResultDecoder
from models.status.events import StatusEvent
from models.text import error_text

_LOGGER = logging.getLogger(__name__)

_BATCH = 1_000
_POLL_SECONDS = 0.1


class Collector:
    """Reads in its own thread, from `start` to `close`."""

    def __init__(self, kafka: KafkaSettings, topics: DemoTopics, scoreboard: Scoreboard) -> None:
        self._topics = topics
        self._scoreboard = scoreboard
        self._decoder = ResultDecoder(RecordType.named("wine").codec.embedding)
        self._consumer = kafka.standalone_consumer()
        read = (topics.results, topics.status, topics.dead_letters)
        self._consumer.assign(
            [
                TopicPartition(topic, partition, OFFSET_BEGINNING)
                for topic in read
                for partition in range(topics.partitions()[topic])
            ]
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)

    def start(self) -> None:
        """Starts reading."""
        self._thread.start()

    def close(self) -> None:
        """Stops reading and closes the consumer."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            # Waits for a first message only, then takes all that have arrived: waiting for a full batch would add
            # latency.
            messages = self._consumer.consume(1, _POLL_SECONDS)
            if messages:
                self._take([*messages, *self._consumer.consume(_BATCH, 0)])

    def _take(self, messages: list[Message]) -> None:
        results = []
        for message in messages:
            if message.error() is not None:
                _LOGGER.warning("the demo cannot read a topic: %s", message.error().str())
                continue
            try:
                if message.topic() == self._topics.results:
                    results.append(self._decoder.decode(message.value()))
                elif message.topic() == self._topics.status:
                    self._scoreboard.see_status(StatusEvent.from_json(message.value()))
                else:
                    letter = decode_dead_letter(message.value())
                    self._scoreboard.see_dead_letter(letter, letter.topic == self._topics.records)
            except (ValueError, StatusEventError) as error:
                # The summary then reports a missing result or dead letter.
                _LOGGER.warning("a message of topic %s cannot be decoded: %s", message.topic(), error_text(error))
        if results:
            self._scoreboard.see_results(results)
