from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import StatusEventError
from models.status.arm_tallies import ArmStatistics
from models.status.events import ArmShare, CallCounter, EventKind, ModelStatistics, StatusEvent, WorkerState
from models.text import TEXT_LIMIT, clean_text
from tests.models.fakes import TEXTS

FIGURES = st.floats(0, 1e12)
COUNTS = st.integers(0, 2**40)
TIMES = st.integers(0, 32_503_680_000_000)
VERSIONS = st.integers(0, 2**63 - 1)
ARMS = st.builds(ArmShare, TEXTS, TEXTS, st.sampled_from(["serve", "shadow"]), st.floats(0, 1), st.none() | TEXTS)
STATISTICS = st.builds(
    ModelStatistics,
    TEXTS,
    VERSIONS,
    st.none() | TEXTS,
    TIMES,
    COUNTS,
    COUNTS,
    COUNTS,
    *[FIGURES] * 5,
    st.dictionaries(st.integers(-80, 175).map(str), COUNTS),
    st.none() | TEXTS,
    COUNTS,
    st.lists(ARMS, max_size=3).map(tuple),
)
STATES = st.builds(WorkerState, COUNTS, TEXTS, st.lists(TEXTS, max_size=3).map(tuple), COUNTS)
CANDIDATES = st.builds(
    ArmStatistics, TEXTS, VERSIONS, TEXTS, records=COUNTS, milliseconds=FIGURES, squared_deviation=st.floats(0, 1e300)
)
EVENTS = st.builds(
    StatusEvent,
    st.sampled_from(get_args(EventKind)),
    TIMES,
    TEXTS,
    TEXTS,
    VERSIONS,
    TEXTS,
    st.none() | TEXTS,
    st.none() | STATISTICS,
    TEXTS,
    st.none() | CANDIDATES,
    st.none() | STATES,
)


@given(EVENTS)
def test_an_event_is_read_as_it_was_written(event: StatusEvent) -> None:
    written = replace(event, error=None if event.error is None else clean_text(event.error))
    assert StatusEvent.from_json(event.to_json()) == written


def test_a_compacted_topic_keeps_the_last_event_of_each_version_in_each_worker_of_each_deployment() -> None:
    def key(deployment: str = "d", worker: str = "w", model: str = "m", version: int = 1) -> bytes:
        keys = {
            StatusEvent(kind, 0, worker, model, version, deployment=deployment).key for kind in ("loading", "failed")
        }
        (found,) = keys
        return found

    others = [key(deployment="e"), key(worker="v"), key(model="n"), key(version=2)]
    gap, worker = StatusEvent.of_gap("why", "w", "d").key, StatusEvent("worker", 0, "w", deployment="d").key
    candidate = StatusEvent.of_candidate(ArmStatistics("m", 1, "1"), "w", "d").key
    assert len({key(), *others, gap, worker, candidate}) == 8
    assert key() == b"d/w/m/1"


def test_an_event_of_an_earlier_release_names_no_deployment() -> None:
    event = StatusEvent.from_json(b'{"kind": "loading", "at": 1, "worker": "w", "model_name": "m", "model_version": 2}')
    assert (event.model_name, event.deployment) == ("m", "")


FULL = StatusEvent(
    "candidate",
    1,
    "worker",
    "wine",
    2,
    "wine",
    "why",
    ModelStatistics("wine", 2, "good", 1, durations={"0": 2}, arms=(ArmShare("wine", "new", "candidate", 0.5),)),
    "group",
    ArmStatistics("wine", 7, "new", records=10, errors=1),
    WorkerState(7, "id", ("wine/2",), 5),
)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "not a status event: "),
        (b"[]", "not a status event: a list is not an object"),
        (b"null", "not a status event: None is not an object"),
        (b"{}", "not a status event: 'kind' is missing"),
        (b'{"kind": "gap"}', "'at' is missing"),
        (b'{"kind": "gap", "at": 1, "worker": "w", "x": 1}', "the field 'x' is unknown"),
        (b'{"kind": "new", "at": 1, "worker": "w"}', "kind: 'new' is unknown"),
        (b'{"kind": "gap", "at": true, "worker": "w"}', "at: True is not a whole number"),
        (b'{"kind": "gap", "at": 1e400, "worker": "w"}', "not a status event"),
        (b'{"kind": "gap", "at": 1, "worker": "\\ud800"}', "not a status event"),
        (b"[" * 100_000, "not a status event"),
        (b"\xff", "not a status event"),
    ],
)
def test_a_message_that_is_not_an_event_is_an_error_that_names_the_reason(message: bytes, reason: str) -> None:
    with pytest.raises(StatusEventError, match=re.escape(reason)):
        StatusEvent.from_json(message)


@pytest.mark.parametrize(
    ("part", "change", "reason"),
    [
        ("statistics", {"durations": {"176": 1}}, "statistics.durations: '176' is unknown"),
        ("statistics", {"durations": {"0": -1}}, "statistics.durations.0: -1 is not a whole number"),
        ("statistics", {"arms": [{**asdict(ArmShare("wine", "new", "serve", 0.5)), "share": 2}]}, ".arms[0].share: 2"),
        ("statistics", {"average": "fast"}, "statistics.average: 'fast' is not a number"),
        ("state", {"waiting": "wine/2"}, "state.waiting: 'wine/2' is not a list"),
        ("arm", {"errors": 11}, "arm: there are more errors than records"),
        ("arm", {"deviation": None}, "arm.deviation: None is not a number"),
    ],
)
def test_an_error_names_the_field_that_is_wrong(part: str, change: dict[str, Any], reason: str) -> None:
    event = json.loads(FULL.to_json())
    event[part] |= change
    with pytest.raises(StatusEventError, match=re.escape(reason)):
        StatusEvent.from_json(json.dumps(event).encode())


def test_a_gap_is_an_event_of_no_model() -> None:
    event = StatusEvent.of_gap("records are missing", "worker")
    assert (event.kind, event.error, event.worker, event.key) == (
        "gap",
        "records are missing",
        "worker",
        b"gap//worker",
    )


@given(st.lists(st.tuples(st.integers(1, 100), st.integers(0, 100), st.floats(0, 1000)), min_size=1))
def test_statistics_are_those_of_the_calls(calls: list[tuple[int, int, float]]) -> None:
    counter = CallCounter(since=5)
    for records, errors, milliseconds in calls:
        counter.add(records, errors, milliseconds)
    found = counter.statistics("m", 2, "what")
    durations = [milliseconds for _, _, milliseconds in calls]
    assert (found.name, found.version, found.description, found.since) == ("m", 2, "what", 5)
    assert found.usage == sum(records for records, _, _ in calls)
    assert found.errors == sum(errors for _, errors, _ in calls)
    assert (found.calls, found.minimum, found.maximum) == (len(calls), min(durations), max(durations))
    assert found.average == pytest.approx(sum(durations) / len(durations))


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "line\nbreak", "x" * 3_000_000, "\0"])
def test_an_event_can_be_written_whatever_its_texts_are(text: str) -> None:
    statistics = ModelStatistics("m\ud800", 1, text, 0)
    message = StatusEvent("failed", 0, "worker\ud800", "m\ud800", 1, text, text, statistics).to_json()
    assert len(message) < 4 * TEXT_LIMIT
    event = StatusEvent.from_json(message)
    assert event.error == clean_text(text)
    assert (event.model_name, event.worker) == ("m\ufffd", "worker\ufffd")
    assert StatusEvent("failed", 0, "worker", "m\ud800").key == "/worker/m\ufffd/0".encode()
    json.loads(message.decode())  # strict UTF-8


def test_statistics_of_no_call_are_zero() -> None:
    assert CallCounter(since=5).statistics("m", 1, None) == ModelStatistics("m", 1, None, 5)
