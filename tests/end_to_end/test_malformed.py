"""Malformed records and descriptors: each a dead letter with its coordinates, and the stream goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from models.errors import DescriptorError
from models.model_topic.catalog import ModelCatalog
from models.model_topic.descriptor import ModelDescriptor, encode_descriptor
from tests.end_to_end.deployment import Deployment
from tests.end_to_end.test_updates import X, record

SaveVersion = Callable[..., Path]

few = settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@few
@given(values=st.lists(st.none() | st.binary(max_size=100), min_size=1, max_size=50))
@example(values=[None, b"", b"\xff" * 11, b"\x02\x01", b"\x02\x00\x06no" + b"\xff"])
def test_malformed_records_become_dead_letters_with_their_bytes_and_coordinates(
    serving: Deployment, values: list[bytes | None]
) -> None:
    decoded = serving.schema.decode(values)
    key, headers = b"key", (("name", b"\x00\xff"),)
    offsets = serving.send_bytes(values, key, headers)
    malformed = {offsets[place]: place for place in decoded.errors}
    letters = serving.dead_letters(malformed)
    for offset, place in malformed.items():
        letter = letters[offset]
        assert (letter.topic, letter.partition) == (serving.topic("records"), 0)
        assert (letter.key, letter.value, letter.headers) == (key, values[place], headers)
        assert letter.reason == decoded.errors[place]
    serving.results_of([offsets[place] for place in decoded.indices])
    (after,) = serving.score(record("after-malformed"))
    assert after.error


def garbage_messages() -> st.SearchStrategy[tuple[bytes | None, bytes | None]]:
    descriptor = encode_descriptor(ModelDescriptor("garbage", "none", 1, model_source_location="nowhere"))
    keys = st.none() | st.binary(max_size=10) | st.sampled_from([b"garbage/1", b"garbage/0", b"garbage/x", b"other/1"])
    cut = st.integers(0, len(descriptor)).map(lambda end: descriptor[:end])
    longer = st.binary(min_size=1, max_size=5).map(lambda tail: descriptor + tail)
    return st.tuples(keys, st.binary(min_size=1, max_size=50) | cut | longer)


def is_malformed(key: bytes | None, value: bytes | None) -> bool:
    with contextlib.suppress(DescriptorError):
        ModelCatalog().apply(0, key, value)
        return False
    return True


@few
@given(messages=st.lists(garbage_messages(), min_size=1, max_size=20))
def test_malformed_descriptors_become_dead_letters(
    serving: Deployment, messages: list[tuple[bytes | None, bytes | None]]
) -> None:
    # The broker refuses what has no key in a compacted topic; that is not ours to test.
    sent = [(key, value) for key, value in messages if key is not None and is_malformed(key, value)]
    offsets = [serving.send_bytes([value], key, kind="models")[0] for key, value in sent]
    letters = serving.dead_letters(offsets, kind="models")
    for (key, value), offset in zip(sent, offsets, strict=True):
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
