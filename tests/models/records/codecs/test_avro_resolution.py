"""Schema resolution against fastavro, which is the oracle: rewritten messages contain the values that it reads."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import SchemaError
from models.records.codecs.avro import AvroCodec
from models.records.codecs.avro_resolution import AvroResolution, same_encoding
from tests.models.fakes import LONGS, TEXTS

INTS = st.integers(-(2**31), 2**31 - 1)
FLOATS = st.floats(width=32)
RECORD = {"type": "record", "name": "In", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": "string"}]}
WIDER_RECORD = {**RECORD, "fields": [*RECORD["fields"], {"name": "c", "type": "bytes", "default": "\u00ff"}]}
ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}

# A type, what it may become in the reader's schema, and values of it.
TYPES: list[tuple[Any, list[Any], st.SearchStrategy[Any]]] = [
    ("int", ["int", "long", "float", "double"], INTS),
    ("long", ["long", "float", "double"], LONGS),
    ("float", ["float", "double"], FLOATS),
    ("double", ["double", ["null", "double"]], st.floats()),
    ("string", ["string", "bytes", ["null", "string"]], TEXTS),
    ("bytes", ["bytes"], st.binary(max_size=5)),
    ("boolean", ["boolean"], st.booleans()),
    (["null", "int"], [["null", "int"], ["int", "null"], ["null", "long", "string"]], st.none() | INTS),
    (["int", "string"], [["int", "string"], ["string", "long"]], INTS | TEXTS),
    (
        {"type": "array", "items": "int"},
        [{"type": "array", "items": kind} for kind in ("int", "double")],
        st.lists(INTS),
    ),
    ({"type": "map", "values": "long"}, [{"type": "map", "values": "long"}], st.dictionaries(TEXTS, LONGS, max_size=3)),
    (RECORD, [RECORD, WIDER_RECORD], st.fixed_dictionaries({"a": INTS, "b": TEXTS})),
    (ENUM, [ENUM, {**ENUM, "symbols": ["C", "B", "A"]}], st.sampled_from("AB")),
    (
        {"type": "fixed", "name": "F", "size": 3},
        [{"type": "fixed", "name": "F", "size": 3}],
        st.binary(min_size=3, max_size=3),
    ),
]
NUMBERS = list(range(len(TYPES)))
ADDED: list[tuple[Any, Any]] = [
    ("int", 7),
    ("string", "größe"),
    ("bytes", "\u00ff\u0000"),
    ("double", 1.5),
    (["null", "string"], None),
    ({"type": "array", "items": "long"}, [1, 2]),
    ({"type": "map", "values": "bytes"}, {"k": "\u00fe"}),
    ({"type": "record", "name": "Added", "fields": [{"name": "x", "type": "bytes", "default": "\u00ff"}]}, {}),
]


@st.composite
def evolutions(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """The writer's schema, the reader's schema, and rows of the writer's."""
    numbers = draw(st.lists(st.sampled_from(NUMBERS), max_size=6, unique=True))
    writer = [{"name": f"f{number}", "type": TYPES[number][0]} for number in numbers]
    kept = [number for number in numbers if draw(st.booleans())]
    reader = [{"name": f"f{number}", "type": draw(st.sampled_from(TYPES[number][1]))} for number in kept]
    added = draw(st.lists(st.sampled_from(range(len(ADDED))), max_size=3, unique=True))
    reader += [{"name": f"added{one}", "type": ADDED[one][0], "default": ADDED[one][1]} for one in added]
    rows = st.fixed_dictionaries({f"f{number}": TYPES[number][2] for number in numbers})
    both = ({"type": "record", "name": "R", "fields": fields} for fields in (writer, draw(st.permutations(reader))))
    return *both, draw(st.lists(rows, max_size=4))  # type: ignore[return-value]


def written(schema: Any, row: Any) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema, {}), row)
    return buffer.getvalue()


def read(schema: Any, message: bytes, reader: Any = None) -> Any:
    wanted = None if reader is None else fastavro.parse_schema(reader, {})
    return fastavro.schemaless_reader(io.BytesIO(message), fastavro.parse_schema(schema, {}), wanted)


def with_values(value: Any, schema: Any) -> Any:
    """fastavro's resolution with its defaults as values; it leaves bytes as text, and omits nested defaults."""
    if isinstance(schema, list):
        kinds = [kind for kind in schema if kind != "null"]
        return value if value is None or len(kinds) > 1 else with_values(value, kinds[0])
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "bytes" and isinstance(value, str):
        return value.encode("latin-1")
    if kind == "map":
        return {name: with_values(one, schema["values"]) for name, one in value.items()}
    if kind == "record":
        return {
            one["name"]: with_values(value[one["name"]] if one["name"] in value else one["default"], one["type"])
            for one in schema["fields"]
        }
    if kind == "float":
        return pa.scalar(value, pa.float32()).as_py()
    return value


def alike(one: Any, other: Any) -> bool:
    """Equality in which NaN equals NaN."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(value, other[name]) for name, value in one.items())
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return type(one) is type(other) and bool(one == other)


@given(evolutions())
def test_messages_are_rewritten_as_fastavro_resolves_them(
    evolution: tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]],
) -> None:
    writer, reader, rows = evolution
    messages = [written(writer, row) for row in rows]
    resolution = AvroResolution(writer, reader)
    rewritten, errors = resolution.rewrite(pa.array(messages, pa.binary()))
    assert not errors
    for message, ours in zip(messages, rewritten, strict=True):
        assert ours is not None
        expected = with_values(read(writer, message, reader), reader)
        assert alike(read(reader, ours), expected)
        assert alike(read(reader, resolution.rewrite_one(message)), expected)
    assert len(AvroCodec("R", reader).decode(pa.array(rewritten, pa.binary()))) == len(rows)


def record(*fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": list(fields)}


INT, TEXT = {"name": "i", "type": "int"}, {"name": "t", "type": "string"}


@pytest.mark.parametrize(
    ("writer", "reader", "copied"),
    [
        (record(INT, TEXT), record(INT), True),
        (record(INT, TEXT), record(TEXT, INT), True),
        (record(INT), record({"name": "i", "type": "double"}, {**TEXT, "default": "d"}), True),
        (record(INT), record({"name": "j", "type": "int", "aliases": ["i"], "default": 0}), False),
        (record(INT), record({"name": "i", "type": ["null", "int"]}), False),
        (
            record({"name": "n", "type": ["null", "R"]}),
            record({"name": "n", "type": ["null", "R"]}, {**INT, "default": 1}),
            False,
        ),
    ],
)
def test_fields_are_copied_where_only_they_differ(writer: Any, reader: Any, copied: bool) -> None:
    assert (AvroResolution(writer, reader)._pieces is not None) == copied


@pytest.mark.parametrize("reader_type", ["long", ["null", "int"]])
@given(place=st.integers(0, 3), broken=st.binary(max_size=3))
def test_what_is_malformed_spoils_no_other(reader_type: Any, place: int, broken: bytes) -> None:
    writer = record(INT, TEXT)
    reader = record({"name": "i", "type": reader_type}, TEXT)
    messages = [written(writer, {"i": number, "t": "x"}) for number in range(3)]
    messages.insert(place, broken)
    rewritten, errors = AvroResolution(writer, reader).rewrite(pa.array(messages, pa.binary()))
    good = [one for at, one in enumerate(rewritten) if at != place]
    assert [read(reader, one or b"")["i"] for one in good] == [0, 1, 2]
    try:
        AvroCodec("R", writer).decode(pa.array([broken], pa.binary())).errors[0]
    except KeyError:
        assert rewritten[place] is not None
    else:
        assert rewritten[place] is None
        assert "\n" not in errors[place]


@pytest.mark.parametrize(
    "reader",
    [
        record(TEXT),  # no default, and the writer does not have it
        record({"name": "i", "type": "string"}),
        {**record(INT), "name": "Other"},
        record({"name": "i", "type": {"type": "record", "name": "In", "fields": []}}),
    ],
)
def test_a_schema_that_does_not_resolve_is_an_error_of_each_message(reader: Any) -> None:
    message = written(record(INT), {"i": 1})
    rewritten, errors = AvroResolution(record(INT), reader).rewrite(pa.array([message] * 2, pa.binary()))
    assert rewritten == [None, None]
    assert set(errors) == {0, 1}


def test_a_symbol_that_the_reader_does_not_know_is_an_error_or_the_default() -> None:
    writer = record({"name": "e", "type": ENUM})
    message = written(writer, {"e": "A"})
    strict = record({"name": "e", "type": {**ENUM, "symbols": ["B"]}})
    lenient = record({"name": "e", "type": {**ENUM, "symbols": ["B"], "default": "B"}})
    assert set(AvroResolution(writer, strict).rewrite(pa.array([message], pa.binary()))[1]) == {0}
    (rewritten,), errors = AvroResolution(writer, lenient).rewrite(pa.array([message], pa.binary()))
    assert read(lenient, rewritten or b"") == {"e": "B"} and not errors


def test_branches_of_a_union_with_the_same_fields_stay_apart() -> None:
    left, right = ({"type": "record", "name": name, "fields": [INT]} for name in ("L", "Q"))
    writer = record({"name": "u", "type": [left, right]})
    reader = record({"name": "u", "type": [left, right]}, {**TEXT, "default": ""})
    message = written(writer, {"u": ("Q", {"i": 1})})
    (rewritten,), _ = AvroResolution(writer, reader).rewrite(pa.array([message], pa.binary()))
    assert rewritten is not None and rewritten[0] == 2  # the second branch


@pytest.mark.parametrize("writer", ["string", {"type": "array", "items": "int"}, ["null", "int"], ENUM])
def test_a_writer_without_a_record_is_refused(writer: Any) -> None:
    with pytest.raises(SchemaError, match="not a record"):
        AvroResolution(writer, record(INT))


def test_what_does_not_matter_to_messages_makes_no_difference() -> None:
    plain = record({"name": "at", "type": "long"})
    adorned = {
        **record({"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 0}),
        "doc": "d",
    }
    assert same_encoding(adorned, plain)
    assert not same_encoding(record(INT), record({"name": "i", "type": "long"}))
    assert json.loads(json.dumps(adorned)) == adorned
