"""What the page shows of the status topic."""

from __future__ import annotations

import json
from typing import Any

import pytest
from confluent_kafka import Message

from beam_pipeline.dashboard import workers as workers_module
from beam_pipeline.dashboard.workers import MOST_REFUSALS, Workers
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.publisher import ListedVersion
from models.status.events import ModelStatistics, StatusEvent

NOW = 1_000_000


def message(event: StatusEvent) -> Message:
    return Message(topic="status", key=event.key, value=event.to_json())


def event(kind: Any, version: int = 2, at: int = NOW, **fields: Any) -> StatusEvent:
    return StatusEvent(kind, at, "vm:1", "wine", version, "wine", deployment="group", **fields)


def test_a_refusal_has_its_reason_and_the_number_of_tries_until_the_version_serves() -> None:
    workers = Workers()
    workers.take([message(event("failed", at=NOW + place, error=f"try {place}")) for place in range(3)])
    (refusal,) = workers.refusals()
    assert (refusal["error"], refusal["tries"], refusal["first"], refusal["last"]) == ("try 2", 3, NOW, NOW + 2)
    assert refusal["resolved"] is False
    workers.take([message(event("serving", at=NOW + 9, statistics=ModelStatistics("wine", 2, None, NOW)))])
    assert [one["resolved"] for one in workers.refusals()] == [True]


def test_events_of_other_deployments_and_other_messages_are_ignored() -> None:
    workers = Workers("mine")
    workers.take([message(event("failed", error="no")), Message(topic="status", value=b"{"), Message(topic="status")])
    assert workers.refusals() == []


def test_the_last_refusals_are_kept() -> None:
    workers = Workers()
    workers.take([message(event("failed", version, error="x" * 100_000)) for version in range(MOST_REFUSALS + 10)])
    refusals = workers.refusals()
    assert [one["version"] for one in refusals] == list(range(MOST_REFUSALS + 9, 9, -1))
    assert max(len(json.dumps(one)) for one in refusals) < 2_500


def test_endless_names_of_workers_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "MOST_KEYS", 100)
    workers = Workers()
    listed = ListedVersion(ModelDescriptor("wine", "onnx", 2, model_source_location="/m"), 0, False, "live")
    for number in range(1_000):
        serving = StatusEvent(
            "statistics", NOW, f"vm:{number}", "wine", 2, statistics=ModelStatistics("wine", 2, None, NOW, usage=1)
        )
        workers.take([message(serving)])
    (status,) = workers.statuses([listed])
    # It begins again now and then: the workers that are still there report themselves again.
    assert 0 < status["usage"] <= 101
