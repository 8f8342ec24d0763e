"""Sends random sensor readings: `python examples/sensors/send_records.py --count 100`.

It does not use beam-serving: any program that writes Avro to Kafka can be the source of records.
"""

from __future__ import annotations

import argparse
import io
import json
import random
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import Producer

SCHEMA = json.loads(Path(__file__).with_name("sensor.avsc").read_text(encoding="utf-8"))
# Sensors with old firmware do not measure vibration.
OLD_SCHEMA = {**SCHEMA, "fields": SCHEMA["fields"][:2]}


def encode(schema: dict[str, Any], reading: dict[str, Any]) -> bytes:
    """One value in Avro's binary encoding, without a header."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, reading)
    return buffer.getvalue()


def random_reading(chance: random.Random) -> dict[str, Any]:
    """A reading of a machine between two extremes: cool and quiet, or hot and shaking."""
    sensor = f"machine-{chance.randrange(20)}"
    return {"sensor_id": sensor, "temperature": chance.uniform(20, 90), "vibration": chance.uniform(0, 12)}


def main() -> None:
    """Sends the requested number of readings, and waits until the broker has them."""
    parser = argparse.ArgumentParser(description="Send random sensor readings.")
    parser.add_argument("--bootstrap-servers", default="localhost:9092")
    parser.add_argument("--topic", default="sensors")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--old-firmware", action="store_true", help="leave the vibration out, which makes the records malformed"
    )
    given = parser.parse_args()

    schema = OLD_SCHEMA if given.old_firmware else SCHEMA
    chance = random.Random(given.seed)
    producer = Producer({"bootstrap.servers": given.bootstrap_servers})
    for _ in range(given.count):
        reading = random_reading(chance)
        producer.produce(given.topic, encode(schema, reading), reading["sensor_id"].encode())
    if producer.flush(30):
        raise SystemExit(f"{given.bootstrap_servers} did not acknowledge all readings")
    print(f"{given.count} readings sent to {given.topic!r}")


if __name__ == "__main__":
    main()
