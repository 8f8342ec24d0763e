"""Drift events: only whole ones are shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.dashboard.drift import MOST_EVENTS, Drift, DriftEvent

EVENT = {
    "at": 5,
    "model": "wine",
    "version": 2,
    "field": "alcohol",
    "kind": "feature",
    "measure": "psi",
    "value": 0.31,
    "limit": 0.2,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


def take(*events: Any) -> Drift:
    drift = Drift()
    drift.take([Message(topic="drift", value=json.dumps(one).encode()) for one in events])
    return drift


def test_events_are_listed_newest_first_and_further_fields_are_ignored() -> None:
    drift = take(EVENT, {**EVENT, "at": 6, "window": "5m"})
    assert drift.events() == [{**EVENT, "at": 6}, EVENT]


@pytest.mark.parametrize(
    "change", [{"value": "high"}, {"model": 3}, {"limit": None}, {"at": "now"}, {"value": float("nan")}], ids=str
)
def test_what_is_no_event_is_counted(change: dict[str, Any]) -> None:
    drift = take({**EVENT, **change}, 7, [], {})
    assert (drift.events(), drift.malformed) == ([], 4)


@given(st.sampled_from(sorted(EVENT)), JSON)
def test_any_value_of_a_field_is_refused_or_shown_as_text_on_one_line(field: str, value: Any) -> None:
    try:
        event = DriftEvent.from_json(json.dumps({**EVENT, field: value}).encode())
    except ValueError:
        return
    assert all("\n" not in text and len(text) <= 120 for text in (event.model, event.field, event.kind, event.measure))


def test_memory_is_bounded() -> None:
    assert len(take(*[EVENT] * (MOST_EVENTS + 9)).events()) == MOST_EVENTS
