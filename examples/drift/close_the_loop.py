"""Waits for drift, and replaces the model by itself: `python -m examples.drift.close_the_loop --config FILE`.

1. It waits for a drift event of the model that serves.
2. It collects labelled records from the end of the event's window on, and trains on them.
3. It publishes the version without making it live, rehearses it on recent records, and makes it a guarded candidate.
4. The guard of the deployment gives the candidate more records step by step, and promotes it, because its answers are
   near enough to the labels. The program waits until it serves.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import fastavro
import yaml
from confluent_kafka import Message, TopicPartition

from examples.drift.deliveries import SCHEMA
from models.kafka.client import KafkaSettings
from models.model_topic.route_publisher import RoutePublisher
from models.observing.drift.events import DriftEvent

NAME = "Delivery"
PARSED = fastavro.parse_schema(SCHEMA)


def messages(kafka: KafkaSettings, *topics: str, since: int = 0) -> Iterator[Message]:
    """The messages of topics without an end, from a time on, in milliseconds since 1970-01-01 UTC."""
    with closing(kafka.consumer("close-the-loop")) as consumer:
        known = consumer.list_topics().topics
        places = [TopicPartition(topic, one, since) for topic in topics for one in known[topic].partitions]
        consumer.assign(consumer.offsets_for_times(places))
        while True:
            yield from (one for one in consumer.consume(1_000, 0.5) if one.error() is None)


def wait_for_drift(kafka: KafkaSettings, topic: str) -> DriftEvent:
    """The first drift event of a feature."""
    events = (DriftEvent.from_json(message.value() or b"") for message in messages(kafka, topic))
    return next(event for event in events if event.model == NAME and event.kind == "feature")


def labelled_records(kafka: KafkaSettings, config: dict[str, Any], since: int, count: int) -> list[dict[str, Any]]:
    """The first records from a time on that have a label, with their labels."""
    records: dict[str, Any] = {}
    found: list[dict[str, Any]] = []
    for message in messages(kafka, config["records-topic"], config["feedback-topic"], since=since):
        if message.topic() == config["records-topic"]:
            where = f"{message.topic()}-{message.partition()}-{message.offset()}"
            records[where] = fastavro.schemaless_reader(io.BytesIO(message.value() or b""), PARSED, None)
            continue
        record = records.pop((message.key() or b"").decode(), None)
        if record is not None:  # otherwise it is that of an earlier record
            found.append({"record": record, "label": json.loads(message.value() or b"")["label"]})
        if len(found) == count:
            break
    return found


def serving(*arguments: str) -> str:
    """Runs `beam-serving`; ends this program if it fails."""
    done = subprocess.run([sys.executable, "-m", "beam_pipeline", *arguments], text=True, capture_output=True)
    if done.returncode:
        raise SystemExit(f"beam-serving {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    """Closes the loop once."""
    parser = argparse.ArgumentParser(description="Replace a model that drifts.")
    parser.add_argument("--config", required=True, metavar="FILE", help="the configuration of the deployment")
    parser.add_argument("--records", type=int, default=1_000, help="labelled records to train on")
    given = parser.parse_args()
    config = yaml.safe_load(Path(given.config).read_text(encoding="utf-8"))
    kafka = KafkaSettings(config["bootstrap-servers"])
    options = ["--config", given.config]

    event = wait_for_drift(kafka, config["drift-topic"])
    print(f"drift of {event.model}/{event.version}: {event.measure} of {event.field} is {event.value:.3g}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        labelled = labelled_records(kafka, config, event.at, given.records)
        file = Path(folder, "labelled.jsonl")
        file.write_text("\n".join(map(json.dumps, labelled)), encoding="utf-8")
        train = [sys.executable, "-m", "examples.drift.train", folder, "--labelled", str(file)]
        subprocess.run(train, check=True)
        model, baseline = f"{folder}/model.pmml", f"{folder}/baseline.jsonl"
        published = ["--name", NAME, "--type", "pmml", "--path", model, "--inline", "--baseline", baseline]
        print(serving("models", "publish", *options, *published, "--no-promote"), flush=True)
    version = f"{NAME}/{event.version + 1}"
    # The answers are meant to differ: only errors and the speed count.
    limits = ["--min-agreement", "0%", "--max-shift", "1000", "--max-slowdown", "20"]
    print(serving("models", "rehearse", version, *options, "--last", "500", *limits), flush=True)
    guard = ["--steps", "20%,100%", "--min-records", "200", "--min-labels", "100", "--max-mean-error", "2.5"]
    serving("models", "canary", version, *options, *guard, "--min-agreement", "0%", "--max-slowdown", "20")
    routes = RoutePublisher(kafka, config["models-topic"])
    while any(arm.role == "candidate" for arm in routes.routes()[NAME].route.newest.arms):
        time.sleep(1)
    newest = routes.routes()[NAME].route.newest
    print(newest.note, flush=True)
    if [arm.label for arm in newest.arms] != [version]:
        raise SystemExit(f"the guard has taken {version} out")


if __name__ == "__main__":
    main()
