from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import SchemaError
from models.records.schema import RecordFormat, RecordSchema
from models.schemas import BUNDLED_RECORDS, bundled_schema
from models.text import TEXT_LIMIT
from tests.models.fakes import LONGS, TEXTS, schema_of

ROWS = st.fixed_dictionaries({"user": LONGS, "products": st.lists(LONGS, max_size=5), "dataType": TEXTS})
FORMATS = pytest.mark.parametrize("record_format", ["avro", "json"])
RECURSIVE = schema_of(next=["null", "Test"], label={"type": "map", "values": "string"})


@FORMATS
@given(rows=st.lists(ROWS, max_size=5))
def test_records_are_read_as_they_were_written(record_format: RecordFormat, rows: list[dict[str, Any]]) -> None:
    schema = RecordSchema.named("recommender", record_format)
    decoded = schema.decode([schema.encode(row) for row in rows])
    assert decoded.rows == rows
    assert decoded.indices == list(range(len(rows)))
    assert not decoded.errors


@FORMATS
@given(values=st.lists(st.none() | st.binary(max_size=40), max_size=5))
def test_of_arbitrary_bytes_each_message_is_a_row_or_an_error(
    record_format: RecordFormat, values: list[bytes | None]
) -> None:
    for name in BUNDLED_RECORDS:
        check_decoded(RecordSchema.named(name, record_format), values)
    check_decoded(RecordSchema("Test", RECURSIVE.text, record_format), values)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.fixed_dictionaries({"user": JSON}, optional={"products": JSON, "dataType": JSON}), max_size=3))
def test_of_arbitrary_json_each_message_is_a_row_or_an_error(rows: list[Any]) -> None:
    check_decoded(RecordSchema.named("recommender", "json"), [json.dumps(row).encode() for row in rows])


def check_decoded(schema: RecordSchema, values: list[bytes | None]) -> None:
    decoded = schema.decode(values)
    assert sorted([*decoded.indices, *decoded.errors]) == list(range(len(values)))
    assert decoded.indices == sorted(decoded.indices)
    assert len(decoded.rows) == len(decoded.indices)
    assert all(decoded.errors.values())
    schema.data_types(decoded.rows)


@FORMATS
def test_a_malformed_record_spoils_no_other(record_format: RecordFormat) -> None:
    schema = RecordSchema.named("recommender", record_format)
    good = [schema.encode({"user": user, "products": [], "dataType": "d"}) for user in (1, 2)]
    decoded = schema.decode([good[0], None, b"\x80", good[1], good[0] + b"x"])
    assert [row["user"] for row in decoded.rows] == [1, 2]
    assert decoded.indices == [0, 3]
    assert set(decoded.errors) == {1, 2, 4}
    assert "has no value" in decoded.errors[1]


def test_bytes_behind_a_record_are_an_error() -> None:
    schema = schema_of(x="long")
    assert "2 bytes follow its end" in schema.decode([schema.encode({"x": 1}) + b"ab"]).errors[0]


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
    decoded = RecordSchema.named("recommender", "json").decode([text])
    assert "\n" not in decoded.errors[0]
    assert decoded.errors[0].startswith("no recommender record")


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
    decoded = NESTED.decode([good, text, good])
    assert decoded.indices == [0, 2]
    assert re.search(f"^no Test record: {where}: a lone surrogate .* cannot be encoded as UTF-8$", decoded.errors[1])
    assert decoded.errors[1].encode()


def test_json_escapes_that_are_a_pair_or_escaped_themselves_are_text() -> None:
    decoded = NESTED.decode([rb'{"text": "\ud83d\ude00", "texts": ["\\ud800"]}'])
    assert decoded.rows == [{"text": "\U0001f600", "texts": [r"\ud800"], "table": None}]


@given(st.text(st.characters(exclude_categories=[]), max_size=5), st.booleans())
def test_json_texts_are_read_when_they_can_be_encoded_and_refused_otherwise(text: str, in_key: bool) -> None:
    row: dict[str, Any] = {"text": "a", "table": {text: "b"}} if in_key else {"text": text}
    decoded = NESTED.decode([json.dumps(row).encode()])
    encodable = not re.search("[\ud800-\udfff]", json.loads(json.dumps(text)))
    assert bool(decoded.rows) == encodable
    assert bool(decoded.errors) != encodable


@FORMATS
def test_a_reason_is_one_short_line_whatever_the_record_holds(record_format: RecordFormat) -> None:
    schema = RecordSchema.named("transaction", record_format)
    decoded = schema.decode([json.dumps({"transaction_id": ["x\n" * 1_000_000]}).encode(), b"\xff" * 1000])
    for reason in decoded.errors.values():
        assert len(reason) <= TEXT_LIMIT
        assert reason.isprintable()


def test_absent_json_fields_that_may_be_null_are_null() -> None:
    schema = schema_of("json", x=["null", "double"], dataType=["null", "string"])
    decoded = schema.decode([b"{}"])
    assert decoded.rows == [{"x": None, "dataType": None}]
    assert schema.data_types(decoded.rows) == ["Test"]


def test_a_json_number_that_no_double_holds_is_an_error() -> None:
    schema = schema_of("json", x="double")
    assert set(schema.decode([b'{"x": 1e999}', b'{"x": -1e999}', b'{"x": 1e99}']).errors) == {0, 1}


def test_absent_json_fields_take_their_defaults() -> None:
    decoded = RecordSchema.named("recommender", "json").decode([b'{"user": 1, "products": [2]}'])
    assert decoded.rows == [{"user": 1, "products": [2], "dataType": "recommender"}]
    assert RecordSchema.named("transaction", "json").decode([b'{"transaction_id": "a"}']).rows[0]["v1"] is None


def test_the_data_type_is_the_field_or_the_schemas_name() -> None:
    assert RecordSchema.named("wine").data_types([{}, {}]) == ["wine", "wine"]
    schema = schema_of(dataType=["null", "string"])
    assert schema.data_types([{"dataType": "a"}, {"dataType": None}, {"dataType": ""}]) == ["a", "Test", "Test"]


def test_logical_types_are_read_as_the_numbers_below_them() -> None:
    schema = schema_of(
        at={"type": "long", "logicalType": "timestamp-millis"},
        day=["null", {"type": "int", "logicalType": "date"}],
        id={"type": "string", "logicalType": "uuid"},
    )
    row = {"at": 1, "day": 2, "id": "no uuid"}
    assert schema.decode([schema.encode(row)]).rows == [row]


def test_bundled_schemas_have_a_name(tmp_path: Path) -> None:
    for name in BUNDLED_RECORDS:
        assert RecordSchema.named(name).declared == bundled_schema(name)
        assert RecordSchema.named(name).name == name


def test_a_schema_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "own.avsc"
    file.write_text(schema_of(x="float", tags={"type": "array", "items": "string"}).text)
    schema = RecordSchema.named(str(file), "json")
    assert (schema.name, schema.format) == ("Test", "json")
    assert list(schema.fields) == ["x", "tags"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        '"string"',
        '{"type": "array", "items": "long"}',
        '{"type": "record", "name": "A"}',
        '{"type": "record", "name": "A", "fields": [{"name": "x"}]}',
        '{"type": "record", "name": "A", "fields": [{"name": "x", "type": "strnig"}]}',
        '{"type": "record", "name": "A", "fields": 5}',
        '{"type": "record", "fields": []}',
    ],
)
def test_a_file_that_is_no_record_schema_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "own.avsc").write_text(text)
    with pytest.raises(SchemaError, match=r"own\.avsc"):
        RecordSchema.named(str(tmp_path / "own.avsc"))


def test_a_file_that_is_not_there_is_refused_with_the_bundled_names(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="recommender, transaction, wine"):
        RecordSchema.named(str(tmp_path / "nothing.avsc"))
