r"""Where text from outside (a record, a server, an engine) becomes text of ours: reasons, errors and status events.

Such text can be megabytes long, hold line breaks that forge lines of a log, and hold lone surrogates, which JSON can
write ("\ud800") and UTF-8 cannot. What leaves this module is short, encodable and, with `clean_text`, one line.
"""

from __future__ import annotations

import re

TEXT_LIMIT = 2_000
"""Characters of a reason or an error."""

SERVER_TEXT_LIMIT = 500
"""Characters of what a server says in an error; the address and the number of attempts stand around it."""

_MARK = "..."
_REPLACEMENT = "\ufffd"
_SURROGATES = re.compile("[\ud800-\udfff]")
# White space, control characters, and the marks that make a terminal show text in another order.
_BREAKS = re.compile(r"(?:[\s\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069])+")


def repair_text(text: str) -> str:
    r"""The text with U+FFFD for each lone surrogate, so that it can be encoded.

    >>> repair_text("a\ud800b")
    'a�b'
    """
    return text if text.isascii() else _SURROGATES.sub(_REPLACEMENT, text)


def encode_text(text: str) -> bytes:
    """The text in UTF-8, repaired if need be; raises nothing."""
    return repair_text(text).encode()


def limit_text(text: str, limit: int = TEXT_LIMIT) -> str:
    """The text, repaired, and cut to `limit` characters; what was cut ends with "...".

    >>> limit_text("abcdefgh", 6)
    'abc...'
    """
    repaired = repair_text(text)
    return repaired if len(repaired) <= limit else repaired[: limit - len(_MARK)] + _MARK


def clean_text(text: str, limit: int = TEXT_LIMIT) -> str:
    r"""The text in one line, repaired, and cut to `limit` characters.

    >>> clean_text("bad\nrecord:\t'\ud800'")
    "bad record: '�'"
    """
    return limit_text(_BREAKS.sub(" ", text).strip(), limit)


def error_text(error: BaseException, limit: int = TEXT_LIMIT) -> str:
    r"""The class and the text of an unforeseen error, cleaned.

    >>> error_text(ValueError("not\na number"))
    'ValueError: not a number'
    """
    try:
        text = str(error)
    except Exception:  # an error whose text fails must not become a second failure
        text = "(its text cannot be shown)"
    return clean_text(f"{type(error).__name__}: {text}", limit)
