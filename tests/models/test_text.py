from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

import models.text
from models.text import clean_text, encode_text, error_text, limit_text, repair_text

# Any code points, lone surrogates among them.
ANY = st.text(st.characters(exclude_categories=[]))


def test_the_examples_hold() -> None:
    failed, tried = doctest.testmod(models.text)
    assert (failed, tried) == (0, 4)


@given(ANY)
def test_repaired_text_can_be_encoded_and_differs_in_lone_surrogates_only(text: str) -> None:
    repaired = repair_text(text)
    assert repaired.encode() == encode_text(text)
    assert len(repaired) == len(text)
    for before, after in zip(text, repaired, strict=True):
        assert after == ("\ufffd" if "\ud800" <= before <= "\udfff" else before)


@given(ANY, st.integers(3, 30))
def test_limited_text_keeps_its_beginning_and_shows_that_it_was_cut(text: str, limit: int) -> None:
    limited = limit_text(text, limit)
    assert len(limited) <= limit
    if len(text) <= limit:
        assert limited == repair_text(text)
    else:
        assert limited == repair_text(text)[: limit - 3] + "..."


@given(ANY, st.integers(3, 30))
def test_clean_text_is_one_short_line_and_cleaning_it_again_changes_nothing(text: str, limit: int) -> None:
    cleaned = clean_text(text, limit)
    assert len(cleaned) <= limit
    assert len(cleaned.splitlines()) <= 1
    cleaned.encode()
    assert clean_text(cleaned, limit) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("größe: 5 °C", "größe: 5 °C"),
        ("\n a\r\n\tb \0\x1b[31mc\x85d\u2028e ", "a b [31mc d e"),
        ("\u202eabc\u202c", "abc"),
        ("", ""),
    ],
)
def test_line_breaks_and_control_characters_become_one_space(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def test_an_error_without_a_text_is_still_named() -> None:
    assert error_text(MuteError()) == "MuteError: (its text cannot be displayed)"
