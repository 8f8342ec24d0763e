"""JSON designed to exhaust a parser: each message is a row or an error, quickly, and affects no other message."""

from __future__ import annotations

import json
import time
from typing import Any

import pyarrow as pa
import pytest

from models.records.codecs.base import DecodedRecords
from models.records.record_type import RecordType
from models.serving.assembly import ScoringSettings, score_batch
from models.serving.registry import ModelRegistry
from models.text import TEXT_LIMIT
from tests.models.fakes import batch_of, schema_of

# Each takes a few milliseconds in a new process, and up to six seconds in one that has run thousands of tests, because
# a million arrays make the collector go through all objects. What this excludes takes minutes, or ends the process.
SECONDS_OF_PROCESSOR = 40.0
MILLION = 1_000_000
GOOD = b'{"x": 2.5, "next": null}'
FLAT = schema_of(
    "json",
    x="double",
    label=["null", "string"],
    table=["null", {"type": "map", "values": "double"}],
    row=["null", {"type": "array", "items": "double"}],
)
RECURSIVE = schema_of("json", x="double", next=["null", "Test"])


def message(**fields: Any) -> bytes:
    return json.dumps({"x": 1.0, **fields}).encode()


def raw(field: bytes) -> bytes:
    """A message in which a field is inserted verbatim."""
    return b'{"x": 1.0, ' + field + b"}"


def nested(levels: int, opening: bytes, closing: bytes, core: bytes = b"1") -> bytes:
    return opening * levels + core + closing * levels


def decode_among_others(kind: RecordType, bomb: bytes) -> DecodedRecords:
    """Decodes a message between two good ones; checks that each yields one message, and that it is quick."""
    registry, values = ModelRegistry("worker"), [GOOD, bomb, GOOD]
    began = time.process_time()
    decoded = kind.codec.decode(pa.array(values, pa.binary()))
    scored = score_batch(batch_of(values), registry, ScoringSettings({"records": kind}, "results", "letters"))
    assert time.process_time() - began < SECONDS_OF_PROCESSOR
    registry.close()
    topics = {one.offset or 0: one.topic for one in scored.outgoing}
    middle = "letters" if decoded.errors else "results"
    assert [topics[offset] for offset in sorted(topics)] == ["results", middle, "results"]
    xs = dict(zip(decoded.places.tolist(), decoded.columns["x"].to_pylist(), strict=True))
    assert (xs.pop(0), xs.pop(2)) == (2.5, 2.5)
    assert set(xs) | set(decoded.errors) == {1}
    assert all(len(reason) <= TEXT_LIMIT and "\n" not in reason for reason in decoded.errors.values())
    return decoded


KEYS = {f"k{number}": number for number in range(100_000)}
ROWS = {
    "100,000 unknown keys": message(**KEYS),
    "a map of 100,000 keys": message(table=KEYS),
    "an array of a million numbers": message(row=[0.5] * MILLION),
    "a million arrays in an unknown field": raw(b'"u": [' + b"[]," * MILLION + b"[]]"),
    "one key 100,000 times": b"{" + b'"x": 0.5, ' * 100_000 + b'"x": 1.0}',
    "a key of 10 MB": message(table={"k" * 10 * MILLION: 1}),
    "a text of 10 MB": message(label="x" * 10 * MILLION),
    "a text of a million escapes": raw(b'"label": "' + rb"\u00e9" * MILLION + b'"'),
    "10 MB of blanks": message() + b" " * 10 * MILLION,
    "a fraction of a million digits": b'{"x": 1.0' + b"0" * MILLION + b"}",
    "1,000 levels in an unknown field": raw(b'"u": ' + nested(1_000, b"[", b"]")),
}
ERRORS = {
    "100,000 levels of arrays": raw(b'"u": ' + nested(100_000, b"[", b"]")),
    "100,000 levels of objects": raw(b'"u": ' + nested(100_000, b'{"a": ', b"}")),
    "100,000 levels that never end": b"[" * 100_000,
    "100,000 levels beside a lone surrogate": raw(rb'"label": "\ud800", "u": ' + nested(100_000, b"[", b"]")),
    "a number of a million digits": b'{"x": ' + b"1" * MILLION + b"}",
    "a negative number of a million digits": b'{"x": -' + b"9" * MILLION + b"}",
    "a number of a million digits in an unknown field": raw(b'"u": ' + b"1" * MILLION),
    "an exponent of a million digits": b'{"x": 1e' + b"9" * MILLION + b"}",
    "a million digits beside a lone surrogate": raw(rb'"label": "\ud800", "u": ' + b"1" * MILLION),
    "a text of 10 MB that ends in a lone surrogate": raw(b'"label": "' + b"x" * 10 * MILLION + rb"\ud800" + b'"'),
    "a text of 10 MB in place of a number": message(x="x" * 10 * MILLION),
    "a map of 100,000 wrong values": message(table=dict.fromkeys(KEYS, "a")),
    "an array of a million numbers and a text": message(row=[*[0.5] * MILLION, "a"]),
    "an array of a million numbers that does not end": b'{"x": 1.0, "row": [' + b"0.5," * MILLION,
    **{f"the number {name}": raw(f'"u": {name}'.encode()) for name in ("NaN", "Infinity", "-Infinity", "nan", "1e999")},
}


@pytest.mark.parametrize("bomb", ROWS.values(), ids=ROWS)
def test_large_json_that_follows_the_schema_is_a_row(bomb: bytes) -> None:
    decoded = decode_among_others(FLAT, bomb)
    assert decoded.columns["x"].to_pylist() == [2.5, 1.0, 2.5]
    assert decoded.embedded[1].as_py() == bomb


@pytest.mark.parametrize("bomb", ERRORS.values(), ids=ERRORS)
def test_json_that_no_parser_should_read_is_an_error(bomb: bytes) -> None:
    assert set(decode_among_others(FLAT, bomb).errors) == {1}


def test_of_equal_keys_the_last_one_counts() -> None:
    decoded = decode_among_others(FLAT, b'{"x": "a", "x": 7.5, "row": [1.0], "row": [0.5, 1.5]}')
    assert decoded.columns["x"].to_pylist() == [2.5, 7.5, 2.5]
    assert decoded.columns["row"].to_pylist() == [None, [0.5, 1.5], None]


@pytest.mark.parametrize("levels", [10, 100, 800])
def test_deep_records_of_a_recursive_schema_are_rows(levels: int) -> None:
    assert not decode_among_others(RECURSIVE, nested(levels, b'{"x": 1.0, "next": ', b"}", b"null")).errors


@pytest.mark.parametrize(
    ("levels", "reason"), [(5, "expected"), (100, "nested too deeply"), (800, "nested too deeply")]
)
def test_deep_records_that_do_not_follow_a_recursive_schema_are_errors(levels: int, reason: str) -> None:
    decoded = decode_among_others(RECURSIVE, nested(levels, b'{"x": 1.0, "next": ', b"}", b"5"))
    assert reason in decoded.errors[1]
