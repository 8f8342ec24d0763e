r"""Sanitizes text from outside (records, servers, engines) before it is used in reasons, errors and status events.

Such text can be megabytes long. It can contain line breaks that forge log lines, and lone surrogates, which JSON can
express ("\ud800") but UTF-8 cannot. The functions here make it short, encodable and, with `clean_text`, one line.
"""

from __future__ import annotations

import re

TEXT_LIMIT = 2_000
"""The longest reason or error, in characters."""

SERVER_TEXT_LIMIT = 500
"""The longest text of a server in an error, in characters; leaves room for the address and the number of attempts."""

_MARK = "..."
_REPLACEMENT = "\ufffd"
_SURROGATES = re.compile("[\ud800-\udfff]")
# White space, control characters, and the bidirectional marks that make a terminal display text in another order.
_BREAKS = re.compile(r"(?:[\s\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069])+")


def repair_text(text: str) -> str:
    r"""The text with each lone surrogate replaced by U+FFFD, so that it can be encoded as UTF-8.

    >>> repair_text("a\ud800b")
    'a�b'
    """
    return text if text.isascii() else _SURROGATES.sub(_REPLACEMENT, text)


def encode_text(text: str) -> bytes:
    """The text in UTF-8, repaired if necessary; never raises."""
    return repair_text(text).encode()


def limit_text(text: str, limit: int = TEXT_LIMIT) -> str:
    """The text, repaired, and cut to `limit` characters; a text that was cut ends with "...".

    >>> limit_text("abcdefgh", 6)
    'abc...'
    """
    repaired = repair_text(text)
    return repaired if len(repaired) <= limit else repaired[: limit - len(_MARK)] + _MARK


def clean_text(text: str, limit: int = TEXT_LIMIT) -> str:
    r"""The text in one line, repaired, and cut to `limit` characters; each run of white space becomes one space.

    >>> clean_text("bad\nrecord:\t'\ud800'")
    "bad record: '�'"
    """
    return limit_text(_BREAKS.sub(" ", text).strip(), limit)


def error_text(error: BaseException, limit: int = TEXT_LIMIT) -> str:
    r"""The class and the text of an unexpected error, cleaned.

    >>> error_text(ValueError("not\na number"))
    'ValueError: not a number'
    """
    try:
        text = str(error)
    except Exception:  # an error whose __str__ fails must not cause a second failure
        text = "(its text cannot be displayed)"
    return clean_text(f"{type(error).__name__}: {text}", limit)
