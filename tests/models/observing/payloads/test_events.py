"""Payloads as CloudEvents, on a real broker."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from models.columns.scored import RouteIdentity
from models.kafka.client import KafkaSettings
from models.observing.payloads.events import MOST_BYTES, MOST_VALUES, PayloadTopic, message_of
from models.observing.payloads.payload import Payload
from models.observing.payloads.settings import PayloadSettings, TopicSettings
from models.observing.totals import Totals
from models.records.outgoing import OutgoingMessage
from models.serving.calling import no_answer
from runners.local.kafka_broker import LocalBroker
from tests.conftest import MakeTopic
from tests.end_to_end.kafka_tail import KafkaTail, headers_of
from tests.models.observing.payloads.answers import answered, counted, every, record


def event_of(payload: Payload) -> dict[str, Any]:
    value = message_of("payloads", payload).value
    assert value is not None
    event: dict[str, Any] = json.loads(value)
    return event


def test_events_arrive_on_the_topic(broker: LocalBroker, make_topic: MakeTopic) -> None:
    kafka, topic, totals = KafkaSettings(broker.bootstrap_servers), make_topic("payloads-test-events"), Totals()
    log = PayloadSettings(1.0, "wine", topic=TopicSettings(kafka, topic)).open(totals)
    batch = answered([record(0.25, 2), record(0.75, 3)], start=10)
    log.answered(batch)
    log.close()
    assert counted(totals) == {"sent": 2}
    with closing(KafkaTail(kafka, topic)) as tail:
        assert tail.until(lambda: len(tail.messages) == 2)
        first, second = tail.messages
    assert (first.key(), second.key()) == (b"records-3-10", b"records-3-12")
    headers = dict(headers_of(first))
    moment = datetime.fromisoformat((headers.pop("ce_time") or b"").decode().replace("Z", "+00:00")).timestamp()
    call = batch.scored[0].call
    assert moment == pytest.approx(call.start / 1e6, abs=0.002)
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_type": b"beam.serving.Prediction",
        "ce_source": b"/records/3",
        "ce_id": b"10",
        "content-type": b"application/json",
    }
    assert json.loads(first.value()) == {
        "topic": "records",
        "partition": 3,
        "offset": 10,
        "timestamp": 1010,
        "dataType": "m",
        "modelName": "m",
        "modelVersion": 3,
        "modelType": "fake",
        "digest": "0" * 64,
        "arm": None,
        "role": "serve",
        "signature": "predict",
        "start": call.start,
        "duration": call.duration,
        "batchSize": 2,
        "error": None,
        "errorKind": None,
        "confidence": 0.75,
        "inputs": {"v": {"type": "float32", "shape": [1, 2], "values": [0.25, 2.0]}},
        "outputs": {
            "label": {"type": "string", "shape": [1], "values": ["low"]},
            "scores": {"type": "float32", "shape": [1, 2], "values": [0.25, 0.75]},
        },
    }


def test_the_answer_of_an_arm_names_it_and_that_of_a_shadow_is_an_event_of_its_own() -> None:
    (live,) = every(answered([record()], route=RouteIdentity(7, "canary", "candidate")))
    (shadow,) = every(answered([record()], route=RouteIdentity(7, "next", "shadow"), live=False))
    assert (event_of(live)["arm"], event_of(live)["role"]) == ("canary", "candidate")
    assert (event_of(shadow)["arm"], event_of(shadow)["role"]) == ("next", "shadow")
    assert [dict(message_of("t", one).headers)["ce_id"] for one in (live, shadow)] == [b"0", b"0-next"]


def test_an_error_is_an_event_too() -> None:
    (failed,) = every(answered([record(-1)]))
    event = event_of(failed)
    assert (event["error"], event["errorKind"], event["outputs"]) == ("a negative value", "scoring", None)
    assert event["confidence"] is None
    batch = answered([record()])
    (unanswered,) = every(replace(batch, scored=[no_answer(np.arange(1), "no model", "no_model")]))
    event = event_of(unanswered)
    assert (event["modelName"], event["modelVersion"], event["digest"]) == (None, None, None)
    assert event["inputs"]["label"] == {"type": "string", "shape": [1], "values": ["a"]}


def test_numbers_that_are_not_finite_are_null() -> None:
    (payload,) = every(answered([record()]))
    event = event_of(replace(payload, outputs={"out": np.array([[np.nan, np.inf, 1.5]])}))
    assert event["outputs"]["out"]["values"] == [None, None, 1.5]


def test_the_size_of_an_event_is_bounded() -> None:
    (payload,) = every(answered([record()]))
    large = {"large": np.zeros((1, MOST_VALUES + 1)), "small": np.zeros((1, MOST_VALUES))}
    event = event_of(replace(payload, outputs=large))
    assert event["outputs"]["large"] == {"type": "float64", "shape": [1, MOST_VALUES + 1], "values": None}
    assert len(event["outputs"]["small"]["values"]) == MOST_VALUES
    long = np.array(["x" * MOST_BYTES], object)
    event = event_of(replace(payload, outputs={"long": long}))
    assert event["outputs"]["long"] == {"type": "string", "shape": [1], "values": None}
    short = np.zeros(1)
    event = event_of(replace(payload, outputs={f"{number}".zfill(1_000): short for number in range(300)}))
    assert (event["inputs"], event["outputs"], event["modelVersion"]) == (None, None, 3)


def test_events_for_which_the_producer_has_no_room_are_counted() -> None:
    def full(_: OutgoingMessage) -> None:
        raise BufferError

    totals = Totals()
    PayloadTopic("payloads", full, totals).write(every(answered([record(), record()])))
    assert counted(totals) == {"failed": 2, "sent": 0}
