"""Deliveries of a shop: `python -m examples.drift.deliveries` sends them, and later how long each of them took.

With `--move-after S`, the shop moves out of town after S seconds: distances grow, and the roads there are slower.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import time
from collections import deque
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import Message, Producer

SCHEMA = json.loads(Path(__file__).with_name("delivery.avsc").read_text(encoding="utf-8"))
# A delivery takes at least this long, so its time becomes known after its result.
_LABEL_SECONDS = 3.0


def random_delivery(chance: random.Random, moved: bool) -> tuple[dict[str, Any], float]:
    """A delivery and the minutes that it takes."""
    distance, stops = chance.gammavariate(4, 1.5 if moved else 1.0), chance.randrange(1, 6)
    minutes = 5 + (4.5 if moved else 3) * distance + 4 * stops + chance.gauss(0, 2)
    record = {"order_id": str(chance.randrange(10**9)), "distance_km": distance, "stops": stops}
    return record, minutes


def encode(record: dict[str, Any]) -> bytes:
    """A record in Avro's binary encoding."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, SCHEMA, record)
    return buffer.getvalue()


class Shop:
    """Sends deliveries, and the time that each of them took as a label for its record."""

    def __init__(self, given: argparse.Namespace) -> None:
        self._given = given
        self._producer = Producer({"bootstrap.servers": given.bootstrap_servers, "linger.ms": 5})
        self._labels: deque[tuple[float, bytes, float]] = deque()

    def run(self) -> None:
        """Sends until the time is over."""
        chance, began = random.Random(self._given.seed), time.monotonic()
        due = 0
        while (elapsed := time.monotonic() - began) < self._given.seconds:
            moved = self._given.move_after is not None and elapsed >= self._given.move_after
            while due < elapsed * self._given.rate:
                due += 1
                self._deliver(*random_delivery(chance, moved))
            self._label(time.monotonic())
            self._producer.poll(0.02)
        self._producer.flush(30)
        self._label(float("inf"))
        self._producer.flush(30)
        print(f"{due} deliveries")

    def _deliver(self, record: dict[str, Any], minutes: float) -> None:
        def delivered(error: object, message: Message) -> None:
            if error is None:
                key = f"{message.topic()}-{message.partition()}-{message.offset()}".encode()
                self._labels.append((time.monotonic() + _LABEL_SECONDS, key, minutes))

        self._producer.produce(self._given.topic, encode(record), on_delivery=delivered)

    def _label(self, now: float) -> None:
        while self._labels and self._labels[0][0] <= now:
            _, key, minutes = self._labels.popleft()
            self._producer.produce(self._given.feedback_topic, json.dumps({"label": minutes}).encode(), key)


def main() -> None:
    """Sends deliveries as the arguments say."""
    parser = argparse.ArgumentParser(description="Send deliveries, and how long they took.")
    parser.add_argument("--bootstrap-servers", default="localhost:9092")
    parser.add_argument("--topic", default="deliveries")
    parser.add_argument("--feedback-topic", default="delivery-feedback")
    parser.add_argument("--rate", type=int, default=100, help="deliveries a second")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--move-after", type=float, metavar="S", help="when the shop moves (default: it stays)")
    parser.add_argument("--seed", type=int, default=0)
    Shop(parser.parse_args()).run()


if __name__ == "__main__":
    main()
