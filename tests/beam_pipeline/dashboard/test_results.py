"""Results of the page: whatever a JSON message contains is shown or counted, and nothing else happens."""

from __future__ import annotations

import json
import time
from typing import Any

from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.dashboard.distributions import Distributions
from beam_pipeline.dashboard.history import History
from beam_pipeline.dashboard.message_reader import MessageReader
from beam_pipeline.dashboard.results import MOST_RECENT, Results
from beam_pipeline.dashboard.settings import Reading
from models.kafka.client import KafkaSettings
from models.records.codecs.base import Embedding
from models.results.decoder import ResultDecoder

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
METADATA = {
    "topic": "records",
    "partition": 0,
    "offset": 3,
    "duration": 1_500,
    "modelName": "wine",
    "modelVersion": 2,
    "errors": None,
}
RESULT = {
    "inputRecord": {},
    "outputs": {"score": {"shape": [], "values": [0.5]}},
    "modelResultMetadata": METADATA,
}


def taken(*values: Any) -> Results:
    # No broker is at this address: records of unknown topics are not read.
    reader = MessageReader(KafkaSettings("localhost:1"))
    results = Results(Reading((ResultDecoder(Embedding("json")),)), reader, ("wines",), History(), Distributions())
    now = round(time.time() * 1000)
    messages = [
        Message(topic="results", partition=0, offset=place, value=json.dumps(value).encode(), timestamp=(1, now))
        for place, value in enumerate(values)
    ]
    results.take(messages, [])
    return results


def test_a_result_is_listed_with_its_coordinates_and_its_outputs() -> None:
    (line,) = taken(RESULT).recent()
    assert (line["partition"], line["offset"], line["record"]) == (0, 0, "records-0@3")
    assert (line["label"], line["text"], line["failed"]) == ("wine/2", "score 0.5", False)


def test_the_error_of_a_result_is_its_text() -> None:
    failed = {**RESULT, "outputs": {}, "modelResultMetadata": {**METADATA, "errors": "no\nmodel", "modelName": None}}
    (line,) = taken(failed).recent()
    assert (line["label"], line["text"], line["failed"]) == ("no model", "no model", True)


@given(st.lists(JSON, max_size=5))
def test_any_json_is_malformed(values: list[Any]) -> None:
    assert taken(*values).malformed == len(values)


@given(st.sampled_from(sorted(METADATA)), JSON)
def test_any_value_of_a_field_is_shown_or_counted(name: str, value: Any) -> None:
    results = taken({**RESULT, "modelResultMetadata": {**METADATA, name: value}})
    assert len(results.recent()) + results.malformed == 1


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=3))
def test_any_outputs_are_shown_or_counted(outputs: dict[str, Any]) -> None:
    results = taken({**RESULT, "outputs": outputs}, {**RESULT, "outputs": {"x": {"shape": [], "values": [outputs]}}})
    assert len(results.recent()) + results.malformed == 2


def test_numbers_beyond_all_floats_are_no_trouble() -> None:
    huge = 10**400
    outputs = {"x": {"shape": [], "values": [huge, 1]}, "y": {"shape": [], "values": [float("inf"), -huge, 0.5]}}
    results = taken({**RESULT, "outputs": outputs}, {**RESULT, "modelResultMetadata": {**METADATA, "duration": huge}})
    assert (len(results.recent()), results.malformed) == (1, 1)


def test_the_last_results_are_kept() -> None:
    results = taken(*[RESULT] * (MOST_RECENT + 10))
    assert [one["offset"] for one in results.recent()] == list(range(MOST_RECENT + 9, 9, -1))
