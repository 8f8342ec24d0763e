"""The Avro codec against fastavro: all types, all forms of messages, and every kind of malformed message."""

from __future__ import annotations

import io
import json
import math
import random
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from models.errors import SchemaError
from models.records.codecs import avro_columns
from models.records.codecs.avro import AvroCodec
from models.records.codecs.avro_types import avro_type, without_logical_types
from models.records.record_type import RecordType
from tests.fuzz.avro_messages import MessageMaker, SchemaMaker, varint

SEEDS = st.integers(0, 2**32)
# A seed does not become simpler by being smaller.
QUICKLY = settings(max_examples=250, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])


def codec_of(schema: Any) -> AvroCodec:
    codec = RecordType("Test", json.dumps(schema)).codec
    assert isinstance(codec, AvroCodec)
    return codec


class Oracle:
    """fastavro's reading of messages."""

    def __init__(self, schema: Any) -> None:
        self.parsed = fastavro.parse_schema(without_logical_types(schema))

    def read(self, message: bytes) -> Any:
        """The row; raises when the message is malformed."""
        buffer = io.BytesIO(message)
        row = fastavro.schemaless_reader(buffer, self.parsed, None)
        if buffer.tell() != len(message):
            raise ValueError("bytes follow")
        return row


def check_same(read: Any, expected: Any) -> None:
    """Checks that values and types are equal; Arrow's map is a list of pairs, and lacks recursive fields."""
    if isinstance(expected, dict):
        read = dict(read)
        assert list(read) == list(expected)
        for name, value in expected.items():
            check_same(read[name], value)
    elif isinstance(expected, list):
        assert len(read) == len(expected)
        for one, other in zip(read, expected, strict=True):
            check_same(one, other)
    elif isinstance(expected, float):
        assert type(read) is float
        assert (math.isnan(read) and math.isnan(expected)) or (
            read == expected and math.copysign(1, read) == math.copysign(1, expected)
        )
    else:
        assert type(read) is type(expected)
        assert read == expected


def check_decoded(codec: AvroCodec, messages: Sequence[bytes], expected: Sequence[Any]) -> None:
    """Checks the decoded messages; `expected` has None for a malformed message."""
    decoded = codec.decode(pa.array(messages, pa.binary()))
    good = [place for place, row in enumerate(expected) if row is not None]
    assert decoded.places.tolist() == good, decoded.errors
    assert sorted(decoded.errors) == [place for place, row in enumerate(expected) if row is None]
    assert decoded.embedded.to_pylist() == [messages[place] for place in good]
    decoded.columns.validate(full=True)
    assert decoded.columns.schema == codec.fields
    names = codec.fields.names
    for row, place in zip(decoded.columns.to_pylist(), good, strict=True):
        check_same(row, {name: expected[place][name] for name in names})


@QUICKLY
@given(SEEDS, st.sampled_from([1, 2, 30]), st.sampled_from([1, 3, 20]), st.booleans())
def test_messages_of_any_schema_are_read_as_fastavro_reads_them(
    seed: int, count: int, most: int, recursive: bool
) -> None:
    chance = random.Random(seed)
    schema = SchemaMaker(chance, recursive).record()
    maker, oracle = MessageMaker(chance, schema, most), Oracle(schema)
    messages = [maker.message() for _ in range(count)]
    codec = codec_of(schema)
    check_decoded(codec, messages, [judged(codec, oracle, message, EMPTY_ITEMS) for message in messages])


def test_names_are_looked_up_as_avro_has_them() -> None:
    inner = {"type": "record", "name": "Inner", "fields": [{"name": "kind", "type": "Kind"}]}
    kind = {"type": "enum", "name": "Kind", "symbols": ["A", "B"], "aliases": ["Old"]}
    fields = [{"name": "first", "type": kind}, {"name": "second", "type": ["null", inner, "n.s.Kind"], "default": None}]
    schema = {"type": "record", "name": "Outer", "namespace": "n.s", "fields": fields}
    codec, oracle = codec_of(schema), Oracle(schema)
    messages = [b"\x00\x00", b"\x02\x02\x02", b"\x02\x04\x00"]
    check_decoded(codec, messages, [oracle.read(message) for message in messages])


STRICTER = ("32 bits", "64 bits", "no such", "more items", "a length reaches", "too deeply")


EMPTY_ITEMS = ("more items",)


def judged(codec: AvroCodec, oracle: Oracle, message: bytes, stricter: Sequence[str] = STRICTER) -> Any:
    """The row, or None for a malformed message: fastavro's verdict, except where the codec documents stricter rules."""
    try:
        row = oracle.read(message)
    except Exception:
        return None
    try:
        codec.rows.read(message)
    except ValueError as error:
        assert any(reason in str(error) for reason in stricter), (message, error)
        return None
    return row


def mutations(chance: random.Random, message: bytes) -> list[bytes]:
    """Every truncation, flipped bits, other bytes, and bytes after the message."""
    cuts = [message[:end] for end in range(min(len(message), 40))]
    flips = []
    for _ in range(20 if message else 0):
        place = chance.randrange(len(message))
        other = chance.choice((message[place] ^ 1 << chance.randrange(8), 0x80, 0xFF, 0x00, 0x01))
        flips.append(message[:place] + bytes([other]) + message[place + 1 :])
    return [*cuts, *flips, message + b"\0", message + b"\x80", b"", b"\xff" * 12]


@QUICKLY
@given(SEEDS, st.sampled_from(["first", "middle", "last", "all"]))
def test_malformed_messages_are_those_that_fastavro_refuses_and_spoil_no_other(seed: int, where: str) -> None:
    chance = random.Random(seed)
    schema = SchemaMaker(chance).record(2)
    maker, oracle, codec = MessageMaker(chance, schema, 2), Oracle(schema), codec_of(schema)
    assume(not has_empty_items(schema))
    good, bad = [maker.message() for _ in range(5)], mutations(chance, maker.message())
    messages = {"first": bad + good, "last": good + bad, "middle": good[:2] + bad + good[2:], "all": bad}[where]
    check_decoded(codec, messages, [judged(codec, oracle, message) for message in messages])


def has_empty_items(schema: Any) -> bool:
    """Whether a message can make fastavro read 2^60 items that take no bytes."""
    if isinstance(schema, list):
        return any(map(has_empty_items, schema))
    if not isinstance(schema, dict):
        return False
    if schema["type"] == "array":
        items = schema["items"]
        return has_empty_items(items) or not least_bytes_of(items)
    inner = [schema.get("values"), *(field["type"] for field in schema.get("fields", ()))]
    return any(map(has_empty_items, inner))


def least_bytes_of(schema: Any) -> int:
    """The minimum size; 0 also for the name of a type that is defined elsewhere, which may have none."""
    try:
        return avro_type(schema).least_bytes
    except fastavro.schema.UnknownType:
        return 0


def test_null_messages_are_errors_beside_others() -> None:
    codec = codec_of({"type": "record", "name": "R", "fields": [{"name": "x", "type": "long"}]})
    decoded = codec.decode(pa.array([None, b"\x02", None, b"", b"\x04"], pa.binary())[1:])
    assert decoded.places.tolist() == [0, 3]
    assert sorted(decoded.errors) == [1, 2]
    assert decoded.columns.column("x").to_pylist() == [1, 2]


def of_one(kind: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": [{"name": "x", "type": kind}, {"name": "y", "type": "long"}]}


NOTHING = {"type": "record", "name": "Nothing", "fields": []}
HUGE = varint(2**60)
ENDLESS = varint(-(2**63))
BOMBS = [
    ({"type": "array", "items": "null"}, HUGE),
    ({"type": "array", "items": "null"}, varint(2_000) + HUGE),
    ({"type": "array", "items": "null"}, (varint(4_000) + b"\0") * 2),
    (
        {"type": "array", "items": {"type": "array", "items": "null"}},
        varint(100_000) + (varint(4_000) + b"\0") * 100_000,
    ),
    ({"type": "array", "items": {"type": "array", "items": NOTHING}}, varint(50) + (varint(2**50) + b"\0") * 50),
    ({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}, HUGE + b"\0"),
    ({"type": "map", "values": "null"}, HUGE + b"\x02a\0"),
    ({"type": "map", "values": NOTHING}, ENDLESS + b"\0"),
    ({"type": "array", "items": "long"}, HUGE + b"\x02" * 100),
    ({"type": "array", "items": "double"}, ENDLESS + HUGE + b"\0" * 100),
    ({"type": "array", "items": "boolean"}, varint(2**63 - 1) + b"\0" * 100),
    ("string", HUGE + b"abc"),
    ("bytes", varint(2**31 - 1) + b"abc"),
    ("string", varint(-5) + b"abcdef"),
    ("long", b"\x80" * 1_000_000),
    ({"type": "array", "items": "long"}, varint(2) + b"\x80" * 1_000_000),
    ({"type": "fixed", "name": "F", "size": 1 << 30}, b"\0" * 100),
    (["null", "R"], b"\x02" * 1_000_000),
    ({"type": "array", "items": "R"}, b"\x02" * 1_000_000),
]


@pytest.mark.parametrize("count", [1, 9])
@pytest.mark.parametrize(("kind", "begins"), BOMBS, ids=range(len(BOMBS)))
def test_a_message_that_asks_for_the_world_is_an_error_and_costs_little(kind: Any, begins: bytes, count: int) -> None:
    codec = codec_of(of_one(kind))
    bombs = pa.array([begins + b"\x02"] * count, pa.binary())
    with steps_and_memory() as spent:
        decoded = codec.decode(bombs)
    assert sorted(decoded.errors) == list(range(count))
    assert spent.steps < 500
    assert spent.peak < 100_000_000


NESTED = {"type": "array", "items": {"type": "array", "items": {"type": "array", "items": "string"}}}
FIFTY = varint(50) + (varint(50) + (varint(50) + b"\0" * 50 + b"\0") * 50 + b"\0") * 50 + b"\0"
LONG = [
    ({"type": "array", "items": "string"}, varint(300_000) + b"\0" * 300_001),
    ({"type": "array", "items": "long"}, (varint(1) + b"\x08") * 20_000 + b"\0"),
    ({"type": "array", "items": "long"}, varint(50_000) + varint(-(2**62)) * 50_000 + b"\0"),
    (NESTED, FIFTY),
    ({"type": "array", "items": {"type": "map", "values": ["int", "double"]}}, varint(9_000) + b"\0" * 9_001),
    ("string", varint(10_000_000) + b"a" * 10_000_000),
    ({"type": "array", "items": ["int", "float", "string", "double"]}, varint(3_000) + b"\x00\x02" * 3_000 + b"\0"),
]


@pytest.mark.parametrize(("kind", "begins"), LONG, ids=range(len(LONG)))
def test_long_values_are_read_exactly_in_few_steps(kind: Any, begins: bytes) -> None:
    schema = of_one(kind)
    codec, oracle = codec_of(schema), Oracle(schema)
    short = b"\0\x02"
    messages = [*[short] * 9, begins + b"\x02", short]
    with steps_and_memory() as spent:
        codec.decode(pa.array(messages, pa.binary()))
    assert spent.steps < 1_000
    check_decoded(codec, messages, [oracle.read(message) for message in messages])


def test_messages_beside_those_that_take_too_many_steps_are_read_exactly() -> None:
    schema = of_one({"type": "array", "items": "string"})
    codec, oracle = codec_of(schema), Oracle(schema)
    messages = [varint(count) + b"\x02a" * count + b"\0\x02" for count in [2_000] * 10 + [3] * 5 + [300] * 5]
    with steps_and_memory() as spent:
        codec.decode(pa.array(messages, pa.binary()))
    assert spent.steps < 1_000
    check_decoded(codec, messages, [oracle.read(message) for message in messages])


class Spent:
    """The cost of decoding: calls of column readers, and the peak memory of Python and numpy in bytes."""

    steps = 0
    peak = 0


@contextmanager
def steps_and_memory() -> Iterator[Spent]:
    spent = Spent()

    def counted(reader: Any) -> Any:
        def read(*arguments: Any) -> Any:
            spent.steps += 1
            return reader(*arguments)

        return read

    arrow = pa.total_allocated_bytes()
    tracemalloc.start()
    with pytest.MonkeyPatch.context() as patch:
        for kind, reader in avro_columns._READERS.items():
            patch.setitem(avro_columns._READERS, kind, counted(reader))
        yield spent
    spent.peak = tracemalloc.get_traced_memory()[1] + pa.total_allocated_bytes() - arrow
    tracemalloc.stop()


def test_a_schema_of_which_there_is_no_value_is_refused() -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "again", "type": "R"}]}
    with pytest.raises(SchemaError, match="would contain another"):
        codec_of(schema)


def test_types_that_contain_themselves_are_read_beside_the_columns() -> None:
    schema = of_one(["null", "R"])
    codec = codec_of(schema)
    decoded = codec.decode(pa.array([b"\x02" * 100 + b"\0" + b"\x04" * 101, b"\0\x06"], pa.binary()))
    assert decoded.columns.to_pylist() == [{"y": 2}, {"y": 3}]
