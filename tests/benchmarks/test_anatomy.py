"""The phases of a record's latency, from traces written by the real steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Message, TopicPartition

from benchmarks.contenders.topics import read_results
from benchmarks.contenders.traced import FOLDER, Trace, read_traces
from benchmarks.steady.anatomy import Anatomy, anatomy
from models.kafka.client import KafkaSettings
from models.records.batch import OffsetSpan
from runners.local.kafka_broker import LocalBroker

DUE = 1_000_000.0  # a moment, in seconds


def span(start: int, end: int, topic: str = "records") -> OffsetSpan:
    return OffsetSpan(topic, "", 0, 0, start, end)


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return tmp_path


def put_and_read(kafka: KafkaSettings, topic: str, at: float) -> list[Message]:
    """A message that was due at `DUE` and reached the broker at `at`."""
    producer, consumer = kafka.producer(), kafka.consumer("anatomy")
    producer.produce(topic, b"", repr(DUE).encode(), timestamp=round(at * 1000))
    producer.flush()
    consumer.assign([TopicPartition(topic, 0, 0)])
    messages = read_results(consumer, 1, 30.0)
    consumer.close()
    return messages


def test_the_times_that_several_steps_write_are_joined_batch_by_batch(traces: Path) -> None:
    source, score = Trace(), Trace()
    source.note(span(0, 3), {"taken": 1.0, "read": 2.0})
    source.note(span(3, 3), {"taken": 9.0})  # a heartbeat
    source.note(span(0, 5, "models"), {"taken": 9.0})
    source.write()
    source.note(span(3, 4), {"taken": 4.0, "read": 5.0})
    source.write()
    score.note(span(0, 3), {"began": 3.0})
    score.write()
    assert read_traces(traces, "records") == {
        (0, 3): {"taken": 1.0, "read": 2.0, "began": 3.0},
        (3, 4): {"taken": 4.0, "read": 5.0},
    }


def test_a_batch_that_is_scored_again_keeps_its_first_times(traces: Path) -> None:
    (traces / "a.jsonl").write_text(json.dumps({"topic": "records", "start": 0, "end": 1, "began": 1.0}) + "\n")
    (traces / "b.jsonl").write_text(json.dumps({"topic": "records", "start": 0, "end": 1, "began": 2.0}) + "\n")
    assert read_traces(traces, "records") == {(0, 1): {"began": 1.0}}


def test_the_phases_of_a_record_add_up_to_its_latency(
    traces: Path, broker: LocalBroker, topic_names: Callable[[str], str]
) -> None:
    kafka = KafkaSettings(broker.bootstrap_servers)
    topic, results_topic = topic_names("anatomy"), topic_names("anatomy-results")
    records = put_and_read(kafka, topic, DUE + 0.001)
    results = put_and_read(kafka, results_topic, DUE + 0.030)
    trace = Trace()
    times = {"taken": 0.005, "read": 0.006, "began": 0.010, "scored": 0.015, "produced": 0.016}
    trace.note(span(0, 1, topic), {name: DUE + later for name, later in times.items()})
    trace.write()
    found = anatomy(records, results, traces, topic)
    assert {name: round(float(values[0])) for name, values in found.phases.items()} == {
        "due to broker": 1,
        "broker to source": 4,
        "end of the source's bundle": 1,
        "source to scoring": 4,
        "scoring": 5,
        "handing to the producer": 1,
        "producer to broker": 14,
    }
    assert round(float(found.total[0])) == 30


def test_the_table_has_the_share_of_each_phase_in_the_latest_records() -> None:
    reading, scoring = np.full(100, 2.0), np.full(100, 3.0)
    scoring[7] = 50.0
    table = "\n".join(Anatomy({"reading": reading, "scoring": scoring}).table())
    assert [line.split() for line in table.splitlines()[2:]] == [
        ["reading", "2.0", "2.0", "2.0"],
        ["scoring", "3.0", "3.5", "50.0"],
        ["all", "5.0", "5.5", "52.0"],
    ]
