from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.encoding.single_object import bundled_codec
from models.records.outgoing import OutgoingBatch
from models.results.dead_letter import (
    DeadLetter,
    DeadLetterTopic,
    dead_letters,
    decode_dead_letter,
    encode_dead_letter,
)
from tests.models.fakes import LONGS, TEXTS, batch_of

CONTENTS = st.none() | st.binary(max_size=20)
LETTERS = st.builds(
    DeadLetter,
    reason=TEXTS,
    topic=TEXTS,
    partition=st.integers(0, 2**31 - 1),
    offset=LONGS,
    timestamp=LONGS,
    key=CONTENTS,
    value=CONTENTS,
    headers=st.lists(st.tuples(TEXTS, CONTENTS), max_size=3).map(tuple),
    rejected_at=LONGS,
)


@given(LETTERS)
def test_a_letter_is_read_as_it_was_written(letter: DeadLetter) -> None:
    assert decode_dead_letter(encode_dead_letter(letter)) == letter


@given(st.binary(), st.sampled_from([b"", bundled_codec("dead_letter").header]))
def test_what_is_no_letter_raises_nothing_but_a_value_error(content: bytes, header: bytes) -> None:
    try:
        decode_dead_letter(header + content)
    except ValueError as error:
        assert "DeadLetter" in str(error)


def test_a_letter_with_a_schema_id_needs_a_registry_to_be_read(letter: DeadLetter) -> None:
    framed = b"\0\0\0\0\x07" + encode_dead_letter(letter)[10:]
    with pytest.raises(ValueError, match="schema id 7 of a registry; give --schema-registry"):
        decode_dead_letter(framed)
    with pytest.raises(ValueError, match="schema id 7 is not that of a DeadLetter"):
        decode_dead_letter(framed, lambda _: {"reason": "why"})


@pytest.fixture
def letter() -> DeadLetter:
    return DeadLetter("why", "records", 3, 42, 1042, b"key", b"broken", (("h", None),), 2)


@given(LETTERS)
def test_a_topic_in_single_object_encoding_leaves_letters_as_they_are(letter: DeadLetter) -> None:
    assert DeadLetterTopic("dead").frame(encode_dead_letter(letter)) == encode_dead_letter(letter)


def test_a_letter_holds_the_message_its_coordinates_and_the_reason() -> None:
    batch = batch_of([b"1", b"broken"], [b"a", b"key"], [(), (("h", None), ("h", b"2"))], start=40)
    before = time.time_ns() // 1_000_000
    (message,) = OutgoingBatch(batch.span, [dead_letters("dead", batch, {1: "why"})])
    assert (message.topic, message.key, message.offset) == ("dead", b"records-3-42", 42)
    assert message.value is not None
    letter = decode_dead_letter(message.value)
    assert letter.rejected_at >= before
    assert letter == DeadLetter(
        "why", "records", 3, 42, 1042, b"key", b"broken", (("h", None), ("h", b"2")), letter.rejected_at
    )


def test_texts_that_cannot_be_encoded_are_repaired() -> None:
    batch = batch_of([b"1"], headers=[(("h\ud800", b"1"),)])
    (message,) = OutgoingBatch(batch.span, [dead_letters("dead", batch, {0: "why\n\ud800"})])
    letter = decode_dead_letter(message.value or b"")
    assert (letter.reason, letter.headers) == ("why \ufffd", (("h\ufffd", b"1"),))
    odd = DeadLetter("\ud800", "\udfff", 0, 0, 0, None, None, (), 0)
    assert decode_dead_letter(encode_dead_letter(odd)).topic == "\ufffd"


@pytest.mark.parametrize("value", [None, b""])
def test_a_letter_of_no_value_keeps_apart_what_is_empty(value: bytes | None) -> None:
    batch = batch_of([value], [None])
    (message,) = OutgoingBatch(batch.span, [dead_letters("dead", batch, {0: "why"})])
    assert message.value is not None
    letter = decode_dead_letter(message.value)
    assert (letter.key, letter.value) == (None, value)
