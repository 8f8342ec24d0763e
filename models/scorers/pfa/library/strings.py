"""Functions of texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from models.scorers.pfa.avro_types import BOOLEAN, INT, STRING, Array
from models.scorers.pfa.columns import Column, Lists, Scalars
from models.scorers.pfa.library.calls import Call, Signature, Site, of_columns, of_values
from models.scorers.pfa.nodes import Node

MOST_CHARACTERS = 1_000_000


def _rowwise(compute: Callable[..., Any], dtype: Any, *types: Any) -> Callable[[Call], Node]:
    def over_rows(*columns: Any) -> Any:
        result = np.empty(len(columns[0]), dtype)
        result[:] = [compute(*row) for row in zip(*(one.tolist() for one in columns), strict=True)]
        return result

    return of_values(over_rows, Signature(types[:-1], types[-1]))


def _text(compute: Callable[..., str], *types: Any) -> Callable[[Call], Node]:
    return _rowwise(compute, object, STRING, *types, STRING)


def _concatenated(site: Site, one: Scalars, other: Scalars) -> Column:
    pairs = list(zip(one.values.tolist(), other.values.tolist(), strict=True))
    long = np.array([len(first) + len(second) > MOST_CHARACTERS for first, second in pairs], bool)
    site.fail(long, f"the text would have more than {MOST_CHARACTERS} characters")
    result = np.empty(len(pairs), object)
    result[:] = ["" if too_long else first + second for (first, second), too_long in zip(pairs, long, strict=True)]
    return Scalars(result)


def _joined(site: Site, texts: Lists, separator: Scalars) -> Column:
    items = texts.items.values.tolist() if isinstance(texts.items, Scalars) else []
    result, long = np.empty(texts.rows, object), np.zeros(texts.rows, bool)
    rows = zip(texts.starts.tolist(), texts.lengths.tolist(), separator.values.tolist(), strict=True)
    for row, (start, length, between) in enumerate(rows):
        parts = items[start : start + length]
        long[row] = sum(map(len, parts)) + len(between) * length > MOST_CHARACTERS
        result[row] = "" if long[row] else between.join(parts)
    site.fail(long, f"the text would have more than {MOST_CHARACTERS} characters")
    return Scalars(result)


def _count(text: str, part: str) -> int:
    return text.count(part) if part else 0


FUNCTIONS: dict[str, Callable[[Call], Node]] = {
    "s.len": _rowwise(len, np.int64, STRING, INT),
    "s.substr": _text(lambda text, start, end: text[start:end], INT, INT),
    "s.contains": _rowwise(lambda text, part: part in text, bool, STRING, STRING, BOOLEAN),
    "s.count": _rowwise(_count, np.int64, STRING, STRING, INT),
    "s.index": _rowwise(str.find, np.int64, STRING, STRING, INT),
    "s.rindex": _rowwise(str.rfind, np.int64, STRING, STRING, INT),
    "s.startswith": _rowwise(str.startswith, bool, STRING, STRING, BOOLEAN),
    "s.endswith": _rowwise(str.endswith, bool, STRING, STRING, BOOLEAN),
    "s.concat": of_columns(_concatenated, Signature((STRING, STRING), STRING)),
    "s.join": of_columns(_joined, Signature((Array(STRING), STRING), STRING)),
    "s.lower": _text(str.lower),
    "s.upper": _text(str.upper),
    "s.strip": _text(str.strip, STRING),
    "s.lstrip": _text(str.lstrip, STRING),
    "s.rstrip": _text(str.rstrip, STRING),
}
