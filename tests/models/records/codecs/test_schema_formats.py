"""Both formats of Avro schemas: values survive a round trip, and a malformed message affects no other."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.records.codecs.base import DecodedRecords
from models.records.record_type import RecordFormat, RecordType
from models.schemas import BUNDLED_RECORDS
from models.serving.scoring import by_data_type
from models.text import TEXT_LIMIT
from tests.models.fakes import LONGS, TEXTS, rows_of, schema_of


def decode(kind: RecordType, values: Sequence[bytes | None]) -> DecodedRecords:
    return kind.codec.decode(pa.array(values, pa.binary()))


ROWS = st.fixed_dictionaries({"user": LONGS, "products": st.lists(LONGS, max_size=5), "dataType": TEXTS})
FORMATS = pytest.mark.parametrize("record_format", ["avro", "json"])
RECURSIVE = schema_of(next=["null", "Test"], label={"type": "map", "values": "string"})


@FORMATS
@given(rows=st.lists(ROWS, max_size=5))
def test_records_are_read_as_they_were_written(record_format: RecordFormat, rows: list[dict[str, Any]]) -> None:
    schema = RecordType.named("recommender", record_format)
    decoded = decode(schema, [schema.codec.encode(row) for row in rows])
    assert rows_of(decoded.columns) == rows
    assert decoded.places.tolist() == list(range(len(rows)))
    assert not decoded.errors


@FORMATS
@given(values=st.lists(st.none() | st.binary(max_size=40), max_size=5))
def test_of_arbitrary_bytes_each_message_is_a_row_or_an_error(
    record_format: RecordFormat, values: list[bytes | None]
) -> None:
    for name in BUNDLED_RECORDS:
        check_decoded(RecordType.named(name, record_format), values)
    check_decoded(RecordType("Test", RECURSIVE.text, record_format), values)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.fixed_dictionaries({"user": JSON}, optional={"products": JSON, "dataType": JSON}), max_size=3))
def test_of_arbitrary_json_each_message_is_a_row_or_an_error(rows: list[Any]) -> None:
    check_decoded(RecordType.named("recommender", "json"), [json.dumps(row).encode() for row in rows])


def check_decoded(schema: RecordType, values: list[bytes | None]) -> None:
    decoded = decode(schema, values)
    assert sorted([*decoded.places.tolist(), *decoded.errors]) == list(range(len(values)))
    assert decoded.places.tolist() == sorted(decoded.places.tolist())
    assert len(rows_of(decoded.columns)) == len(decoded.places.tolist())
    assert all(decoded.errors.values())
    list(by_data_type(decoded.columns, schema.codec))
    assert decoded.columns.validate(full=True) is None


@FORMATS
def test_a_malformed_record_spoils_no_other(record_format: RecordFormat) -> None:
    schema = RecordType.named("recommender", record_format)
    good = [schema.codec.encode({"user": user, "products": [], "dataType": "d"}) for user in (1, 2)]
    decoded = decode(schema, [good[0], None, b"\x80", good[1], good[0] + b"x"])
    assert [row["user"] for row in rows_of(decoded.columns)] == [1, 2]
    assert decoded.places.tolist() == [0, 3]
    assert set(decoded.errors) == {1, 2, 4}
    assert "has no value" in decoded.errors[1]


def test_bytes_behind_a_record_are_an_error() -> None:
    schema = schema_of(x="long")
    assert "2 bytes follow its end" in decode(schema, [schema.codec.encode({"x": 1}) + b"ab"]).errors[0]


@pytest.mark.parametrize(
    "text",
    [
        b'{"user": NaN, "products": []}',
        b'{"user": 1.5, "products": []}',
        b'{"user": true, "products": []}',
        b'{"user": 9223372036854775808, "products": []}',
        b'{"products": []}',
        b'{"user": 1, "products": [1, null]}',
        b"[]",
        b"1",
        b"",
        b'"user"',
        b"[" * 100_000,
        b"1" * 5_000,
    ],
)
def test_json_that_does_not_follow_the_schema_is_an_error_in_one_line(text: bytes) -> None:
    decoded = decode(RecordType.named("recommender", "json"), [text])
    assert "\n" not in decoded.errors[0]
    assert decoded.errors[0].startswith("not a recommender record")


def test_a_json_number_that_no_double_holds_is_an_error() -> None:
    schema = schema_of("json", x="double")
    assert set(decode(schema, [b'{"x": 1e999}', b'{"x": -1e999}', b'{"x": 1e99}']).errors) == {0, 1}


def test_absent_json_fields_take_their_defaults() -> None:
    decoded = decode(RecordType.named("recommender", "json"), [b'{"user": 1, "products": [2]}'])
    assert rows_of(decoded.columns) == [{"user": 1, "products": [2], "dataType": "recommender"}]
    assert (
        decode(RecordType.named("transaction", "json"), [b'{"transaction_id": "a"}']).columns.to_pylist()[0]["v1"]
        is None
    )


def test_logical_types_are_read_as_the_numbers_below_them() -> None:
    schema = schema_of(
        at={"type": "long", "logicalType": "timestamp-millis"},
        day=["null", {"type": "int", "logicalType": "date"}],
        id={"type": "string", "logicalType": "uuid"},
    )
    row = {"at": 1, "day": 2, "id": "no uuid"}
    assert decode(schema, [schema.codec.encode(row)]).columns.to_pylist() == [row]


NESTED = schema_of(
    "json",
    text="string",
    texts=["null", {"type": "array", "items": "string"}],
    table=["null", {"type": "map", "values": "string"}],
)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (rb'{"text": "a\ud800"}', "field 'text'"),
        (rb'{"text": "a", "texts": ["b", "\uDC00"]}', r"field 'texts'\[1\]"),
        (rb'{"text": "a", "table": {"k": "\uDfFf"}}', r"field 'table'\.k"),
        (rb'{"text": "a", "table": {"\ud800": "b"}}', r"the name of field 'table'\.\\ud800"),
        (rb'{"text": "a", "\ud800": "b"}', r"the name of field '\\ud800'"),
        (rb'{"text": "a", "unknown": [[{"b": "\ud83d"}]]}', r"field 'unknown'\[0\]\[0\]\.b"),
    ],
)
def test_json_with_a_lone_surrogate_is_an_error_that_names_the_place(text: bytes, where: str) -> None:
    good = b'{"text": "a"}'
    decoded = decode(NESTED, [good, text, good])
    assert decoded.places.tolist() == [0, 2]
    assert re.search(f"^not a Test record: {where}: a lone surrogate .* cannot be encoded as UTF-8$", decoded.errors[1])
    assert decoded.errors[1].encode()


def test_json_escapes_that_are_a_pair_or_escaped_themselves_are_text() -> None:
    decoded = decode(NESTED, [rb'{"text": "\ud83d\ude00", "texts": ["\\ud800"]}'])
    assert rows_of(decoded.columns) == [{"text": "\U0001f600", "texts": [r"\ud800"], "table": None}]


@given(st.text(st.characters(exclude_categories=[]), max_size=5), st.booleans())
def test_json_texts_are_read_when_they_can_be_encoded_and_refused_otherwise(text: str, in_key: bool) -> None:
    row: dict[str, Any] = {"text": "a", "table": {text: "b"}} if in_key else {"text": text}
    decoded = decode(NESTED, [json.dumps(row).encode()])
    encodable = not re.search("[\ud800-\udfff]", json.loads(json.dumps(text)))
    assert bool(len(decoded)) == encodable
    assert bool(decoded.errors) != encodable


@FORMATS
def test_a_reason_is_one_short_line_whatever_the_record_holds(record_format: RecordFormat) -> None:
    schema = RecordType.named("transaction", record_format)
    decoded = decode(schema, [json.dumps({"transaction_id": ["x\n" * 1_000_000]}).encode(), b"\xff" * 1000])
    for reason in decoded.errors.values():
        assert len(reason) <= TEXT_LIMIT
        assert reason.isprintable()


def test_absent_json_fields_that_may_be_null_are_null() -> None:
    schema = schema_of("json", x=["null", "double"], dataType=["null", "string"])
    decoded = decode(schema, [b"{}"])
    assert rows_of(decoded.columns) == [{"x": None, "dataType": None}]
    assert [kind for kind, _ in by_data_type(decoded.columns, schema.codec)] == ["Test"]


def test_a_json_text_with_a_surrogate_beside_deep_nesting_is_an_error() -> None:
    deep = b'{"x": 1.5, "z": ' + b"[" * 600 + b"]" * 600 + b', "u": "\\ud800"}'
    decoded = decode(schema_of("json", x="double"), [deep, b'{"x": 1}'])
    assert set(decoded.errors) == {0}
    assert decoded.columns.column("x").to_pylist() == [1.0]
