"""The sections of the page: whatever a topic contains, the others are shown, as JSON that a browser can parse."""

from __future__ import annotations

import json
from typing import Any

from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.dashboard.followed import FollowedTopics
from beam_pipeline.dashboard.json_bytes import json_bytes
from beam_pipeline.dashboard.settings import DashboardSettings, Reading, Topics
from models.kafka.client import KafkaSettings
from models.status.events import ModelStatistics, StatusEvent
from tests.models.fakes import JSON_VALUES

EVENT = StatusEvent("serving", 5, "vm:1", "wine", 2, "wine", statistics=ModelStatistics("wine", 2, None, 1))


def refuse_constant(text: str) -> None:
    raise AssertionError(f"browsers do not parse {text}")


@given(JSON_VALUES)
def test_any_value_becomes_json_that_browsers_parse(value: Any) -> None:
    json.loads(json_bytes(value).decode(), parse_constant=refuse_constant)


def followed() -> FollowedTopics:
    topics = Topics("models", "results", "letters", "status", "drift")
    # Nothing is followed: no broker is at this address.
    return FollowedTopics(DashboardSettings(KafkaSettings("localhost:1"), topics, Reading(())))


def test_panels_without_a_topic_have_no_section() -> None:
    topics = Topics("models", "results")
    page = FollowedTopics(DashboardSettings(KafkaSettings("localhost:1"), topics, Reading(())))
    assert not {"workers", "refusals", "status", "letters", "drift"} & page.sections().keys()


@given(st.sampled_from(["at", "worker", "model_name", "model_version", "error", "kind", "deployment"]), JSON_VALUES)
def test_any_status_event_leaves_the_other_sections(field: str, value: Any) -> None:
    page = followed()
    event = {**json.loads(EVENT.to_json()), field: value}
    page._workers.take([Message(topic="status", key=b"k", value=json.dumps(event).encode())])
    sections = page.sections()
    assert {"workers", "refusals", "models", "now", "versions", "results", "letters", "drift"} <= sections.keys()
    assert sections["problems"] == {}
    assert sections["status"]["malformed"] in (0, 1)
    json.loads(json_bytes(sections), parse_constant=refuse_constant)
