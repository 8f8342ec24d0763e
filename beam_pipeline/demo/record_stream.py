"""The stream of records: the held-out lots over and over, at a fixed rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from beam_pipeline.demo.scoreboard import Scoreboard
from beam_pipeline.demo.wine import as_record, lot_id
from beam_pipeline.publishing.wine_data import Wine
from models.kafka.client import KafkaSettings
from models.records.record_type import RecordType

_TICK_SECONDS = 0.01
_FLUSH_SECONDS = 10.0


class RecordStream:
    """Sends records in its own thread, from `start` to `close`.

    Args:
      kafka: the settings for connecting to the brokers.
      topic: the topic of records.
      wines: the wines to send in turn; the lot id of a record identifies its wine.
      scoreboard: counts each record before it is sent.
      rate: records per second.
    """

    def __init__(
        self, kafka: KafkaSettings, topic: str, wines: Sequence[Wine], scoreboard: Scoreboard, rate: int
    ) -> None:
        self._topic = topic
        self._wines = wines
        self._scoreboard = scoreboard
        self._rate = rate
        self._codec = RecordType.named("wine").codec
        self._producer = kafka.producer()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="record-stream", daemon=True)

    def send_one(self) -> None:
        """Sends one record now."""
        sequence = self._scoreboard.send()
        place = sequence % len(self._wines)
        lot = lot_id(sequence, place)
        self._producer.produce(self._topic, self._codec.encode(as_record(self._wines[place], lot)), lot.encode())
        self._producer.poll(0)

    def send_malformed(self, values: Sequence[bytes]) -> None:
        """Sends messages that cannot be decoded."""
        for value in values:
            self._scoreboard.send_malformed()
            self._producer.produce(self._topic, value, b"malformed")

    def start(self) -> None:
        """Starts sending at the rate."""
        self._thread.start()

    def close(self) -> None:
        """Stops sending, and waits until the broker has acknowledged everything. Idempotent."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._producer.flush(_FLUSH_SECONDS)

    def _run(self) -> None:
        began, sent = time.monotonic(), 0
        while not self._stop.wait(_TICK_SECONDS):
            due = int((time.monotonic() - began) * self._rate)
            for _ in range(due - sent):
                self.send_one()
            sent = due
