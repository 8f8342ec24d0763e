"""JSON for the page, of whatever topics contain."""

from __future__ import annotations

from typing import Any

import orjson

from models.text import repair_text

_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
_LARGEST = 1 << 53


def json_bytes(value: Any) -> bytes:
    r"""A value of plain types as JSON, which a browser can parse.

    Numbers that are not finite are null. Texts that UTF-8 cannot encode are repaired, and whole numbers that are too
    large for readers of JSON are texts.

    >>> json_bytes({"a": float("nan"), "b": ["\ud800", 10**30]}).decode()
    '{"a":null,"b":["�","1000000000000000000000000000000"]}'
    """
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except TypeError:
        return orjson.dumps(_repaired(value), option=_OPTIONS)


def _repaired(value: Any) -> Any:
    if isinstance(value, dict):
        return {_repaired(name): _repaired(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_repaired(one) for one in value]
    if isinstance(value, str):
        return repair_text(value)
    if isinstance(value, int) and abs(value) >= _LARGEST:
        return str(value)
    return value
