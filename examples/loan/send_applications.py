"""Sends random loan applications: `python examples/loan/send_applications.py --count 100`."""

from __future__ import annotations

import argparse
import io
import json
import random
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import Producer

SCHEMA = json.loads(Path(__file__).with_name("loan.avsc").read_text(encoding="utf-8"))


def random_application(chance: random.Random) -> dict[str, Any]:
    """An application by a random person, from well-off and careful to neither."""
    care = chance.random()
    income = 20 + 100 * chance.random() * (0.5 + care / 2)
    return {
        "application_id": f"application-{chance.randrange(10**9)}",
        "amount": chance.uniform(5, 60),
        "income": income,
        "debt": chance.uniform(0, 60) * (1.2 - care),
        "savings": chance.uniform(0, 40) * care,
        "housing_cost": chance.uniform(5, 25),
        "years_employed": chance.uniform(0, 12) * care,
        "years_of_history": chance.uniform(0, 20) * care,
        "late_payments": round(chance.uniform(0, 6) * (1 - care)),
        "inquiries": round(chance.uniform(0, 8) * (1 - care)),
        "utilisation": min(1.0, chance.uniform(0, 1.2) * (1 - care / 2)),
    }


def main() -> None:
    """Sends the requested number of applications, and waits until the broker has them."""
    parser = argparse.ArgumentParser(description="Send random loan applications.")
    parser.add_argument("--bootstrap-servers", default="localhost:9092")
    parser.add_argument("--topic", default="loan-applications")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    chance = random.Random(given.seed)
    producer = Producer({"bootstrap.servers": given.bootstrap_servers})
    for _ in range(given.count):
        application = random_application(chance)
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, SCHEMA, application)
        producer.produce(given.topic, buffer.getvalue(), application["application_id"].encode())
    if producer.flush(30):
        raise SystemExit(f"{given.bootstrap_servers} did not acknowledge all applications")
    print(f"{given.count} applications sent to {given.topic!r}")


if __name__ == "__main__":
    main()
