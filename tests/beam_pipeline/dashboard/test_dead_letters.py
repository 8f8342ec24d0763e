"""Dead letters of the page: their payload is shown whatever it is, and memory is bounded."""

from __future__ import annotations

from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.dashboard.dead_letters import (
    MOST_LETTERS,
    SHOWN_BYTES,
    DeadLetters,
    hex_dump,
    payload_of,
)
from models.results.dead_letter import DeadLetter, encode_dead_letter


def letter(value: bytes | None = b"not a wine", offset: int = 4, reason: str = "it is no record") -> DeadLetter:
    return DeadLetter(reason, "wines", 1, offset, 1_000, b"key", value, (("trace", b"\xff"),), 2_000)


def message(value: bytes | None, offset: int = 0, key: bytes | None = None) -> Message:
    return Message(topic="letters", partition=0, offset=offset, key=key, value=value)


def test_a_letter_is_listed_with_its_reason_and_shown_with_its_payload() -> None:
    letters = DeadLetters()
    letters.take([message(encode_dead_letter(letter()), 7)])
    (listed,) = letters.listed()["letters"]
    assert listed == {
        "id": "0-7",
        "reason": "it is no record",
        "record": "wines-1@4",
        "at": 2_000,
        "size": 10,
        "replayed": False,
    }
    shown = letters.payload("0-7")
    assert shown is not None
    assert shown["payload"]["text"] == "not a wine"
    assert "6e 6f 74" in shown["payload"]["hex"]
    assert (shown["key"], shown["headers"]) == ("key", [["trace", "\\xff"]])
    assert letters.payload("0-8") is None


def test_a_replayed_letter_is_marked_and_other_messages_are_counted() -> None:
    letters = DeadLetters()
    letters.take([message(encode_dead_letter(letter())), message(None, 1, b"wines-1-4"), message(b"garbage", 2)])
    listed = letters.listed()
    assert [one["replayed"] for one in listed["letters"]] == [True]
    assert listed["malformed"] == 1


def test_the_newest_letters_are_kept_and_their_payload_is_cut() -> None:
    letters = DeadLetters()
    huge = encode_dead_letter(letter(b"\x00" * 1_000_000, reason="r" * 100_000))
    letters.take([message(huge, offset) for offset in range(MOST_LETTERS + 5)])
    assert letters.listed()["kept"] == MOST_LETTERS
    assert letters.payload("0-4") is None
    shown = letters.payload(f"0-{MOST_LETTERS + 4}")
    assert shown is not None
    assert (shown["size"], shown["payload"]["cut"]) == (1_000_000, True)
    assert len(shown["reason"]) <= 2_000
    kept = letters._kept[f"0-{MOST_LETTERS + 4}"].letter.value
    assert kept is not None
    assert len(kept) == SHOWN_BYTES


@given(st.lists(st.one_of(st.none(), st.binary(max_size=60)), max_size=20))
def test_no_message_is_too_malformed(values: list[bytes | None]) -> None:
    letters = DeadLetters()
    letters.take([message(value, place, b"k") for place, value in enumerate(values)])
    assert letters.listed()["kept"] + letters.malformed == sum(one is not None for one in values)


@given(st.binary(max_size=100))
def test_a_dump_has_every_byte_once(content: bytes) -> None:
    lines = hex_dump(content).splitlines()
    assert bytes.fromhex("".join(line[6:53] for line in lines)) == content
    assert all(int(line[:4], 16) == 16 * place for place, line in enumerate(lines))


def test_text_that_was_cut_within_a_character_is_still_text() -> None:
    text = "wine ☕"
    assert payload_of(text.encode()[:-1], len(text.encode()))["text"] == "wine "
    assert payload_of(b"\xff\xfe\x00", 3)["text"] is None
    assert payload_of(b"a\x00b", 3)["text"] is None
    assert payload_of(None, None) == {"text": None, "hex": None, "cut": False}
