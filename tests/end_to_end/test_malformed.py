"""Malformed records and descriptors: each becomes a dead letter with its coordinates, and the stream continues.

The oracle for malformed input is fastavro itself, or the construction of the input, never the code under test.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import fastavro
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from models.model_topic.descriptor import ModelDescriptor, encode_descriptor
from tests.end_to_end.deployment import Deployment
from tests.end_to_end.test_updates import X, record

SaveVersion = Callable[..., Path]

few = settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

SCHEMA = json.loads((Path(__file__).parents[2] / "models" / "schemas" / "recommender.avsc").read_text(encoding="utf-8"))

# {"user": 1, "products": [2, 3], "dataType": "no"}: zigzag numbers; one block of two items, and the end; a text.
ONE = b"\x02" + b"\x04\x04\x06\x00" + b"\x04no"


def is_record(value: bytes | None) -> bool:
    """Whether fastavro decodes exactly these bytes as a recommender record."""
    if value is None:
        return False
    buffer = io.BytesIO(value)
    try:
        fastavro.schemaless_reader(buffer, SCHEMA, None)
    except Exception:
        return False
    return buffer.tell() == len(value)


def records() -> st.SearchStrategy[bytes]:
    def encoded(row: dict[str, object]) -> bytes:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, SCHEMA, row)
        return buffer.getvalue()

    longs = st.integers(-(2**63), 2**63 - 1)
    rows = {"user": longs, "products": st.lists(longs, max_size=5), "dataType": st.text(max_size=10)}
    return st.fixed_dictionaries(rows).map(encoded)


def record_messages() -> st.SearchStrategy[bytes | None]:
    cut = st.tuples(records(), st.integers(1, 5)).map(lambda pair: pair[0][: -pair[1]])
    longer = st.tuples(records(), st.binary(min_size=1, max_size=5)).map(b"".join)
    return st.none() | st.binary(max_size=100) | records() | cut | longer


@few
@given(values=st.lists(record_messages(), min_size=1, max_size=50))
@example(values=[None, b"", b"\xff" * 11, ONE, ONE + b"\x00", ONE[:-1], b"\x02\x00\x06no\xff"])
def test_malformed_records_become_dead_letters_with_their_bytes_and_coordinates(
    serving: Deployment, values: list[bytes | None]
) -> None:
    key, headers = b"key", (("name", b"\x00\xff"),)
    offsets = serving.send_bytes(values, key, headers)
    malformed = {offset: value for offset, value in zip(offsets, values, strict=True) if not is_record(value)}
    results = serving.results_of([offset for offset in offsets if offset not in malformed])
    assert len(results) == len(values) - len(malformed)
    letters = serving.dead_letters(malformed)
    for offset, value in malformed.items():
        letter = letters[offset]
        assert (letter.topic, letter.partition) == (serving.topic("records"), 0)
        assert (letter.key, letter.value, letter.headers) == (key, value, headers)
        assert letter.reason.startswith("not a recommender record: ")
    (after,) = serving.score(record("after-malformed"))
    assert after.error
    # By now everything before it has come: a record of ours in both topics would be here.
    ours = {one.offset for one in serving.all_dead_letters() if one.topic == serving.topic("records")}
    assert ours & set(offsets) == set(malformed)


def test_a_dead_letter_says_what_is_wrong_with_the_record(serving: Deployment) -> None:
    offsets = serving.send_bytes([ONE, None, ONE + b"\x00\x00", ONE[:-1], ONE[:-1] + b"\xff"])
    letters = serving.dead_letters(offsets[1:])
    no_value, longer, shorter, no_text = (letters[offset].reason for offset in offsets[1:])
    assert no_value == "not a recommender record: the message has no value"
    assert longer == "not a recommender record: 2 bytes follow its end"
    assert shorter.startswith("not a recommender record: a length reaches beyond its end")
    assert no_text.startswith("not a recommender record: a string is not UTF-8")
    (result,) = serving.results_of(offsets[:1])
    assert result.record == {"user": 1, "products": [2, 3], "dataType": "no"}


DESCRIPTOR = encode_descriptor(ModelDescriptor("garbage", "none", 1, model_source_location="nowhere"))
SINGLE_OBJECT_MARK = b"\xc3\x01"


def malformed_descriptors() -> st.SearchStrategy[tuple[bytes, bytes]]:
    """Keys and values that are malformed by construction. (The broker rejects a message without a key.)"""
    keys = st.binary(min_size=1, max_size=10) | st.sampled_from([b"garbage/1", b"garbage/0", b"garbage", b"other/1"])
    no_message = st.binary(min_size=1, max_size=50).filter(lambda value: not value.startswith(SINGLE_OBJECT_MARK))
    cut = st.integers(1, len(DESCRIPTOR) - 1).map(lambda end: DESCRIPTOR[:end])
    longer = st.binary(min_size=1, max_size=5).map(lambda tail: DESCRIPTOR + tail)
    of_another = st.sampled_from([b"other/1", b"other", b"\xff/1"])
    return st.tuples(keys, no_message | cut | longer) | st.tuples(of_another, st.just(DESCRIPTOR))


@few
@given(messages=st.lists(malformed_descriptors(), min_size=1, max_size=20))
def test_malformed_descriptors_become_dead_letters(serving: Deployment, messages: list[tuple[bytes, bytes]]) -> None:
    offsets = [serving.send_bytes([value], key, kind="models")[0] for key, value in messages]
    letters = serving.dead_letters(offsets, kind="models")
    for (key, value), offset in zip(messages, offsets, strict=True):
        assert (letters[offset].key, letters[offset].value) == (key, value)
        assert letters[offset].reason


def test_a_good_model_after_malformed_descriptors_serves(serving: Deployment, version_model: SaveVersion) -> None:
    offsets = serving.send_bytes([b"garbage"], b"undaunted/1", kind="models")
    serving.publish("undaunted", version_model(1), X)
    serving.status("serving", "undaunted", 1)
    (result,) = serving.score(record("undaunted"))
    assert result.values("version") == [1]
    assert "undaunted" not in serving.dead_letters(offsets, kind="models")[offsets[0]].reason


@pytest.mark.parametrize("model_type", ["no-such-engine", "tensorflow-saved-model"])
def test_a_well_formed_descriptor_of_no_model_is_a_failed_load_and_no_dead_letter(
    serving: Deployment, model_type: str
) -> None:
    descriptor = ModelDescriptor(model_type, model_type, 1, model_source_location="/nowhere/at/all")
    offset = serving.write_model(descriptor)
    (event, *_) = serving.status("failed", model_type, 1)
    assert event.error
    assert offset not in {one.offset for one in serving.all_dead_letters() if one.topic == serving.topic("models")}
