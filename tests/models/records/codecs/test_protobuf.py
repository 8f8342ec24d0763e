"""Protobuf messages described by a descriptor set, against google.protobuf's own JSON mapping."""

from __future__ import annotations

import base64
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    json_format,
    message_factory,
    text_format,
    timestamp_pb2,
    wrappers_pb2,
)
from hypothesis import given
from hypothesis import strategies as st

from models.errors import SchemaError
from models.records.codecs.base import DecodedRecords
from models.records.record_type import RecordType
from tests.models.fakes import rows_of

SCALARS = (
    *("double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64"),
    *("sfixed32", "sfixed64", "bool", "string", "bytes"),
)


def field(name: str, number: int, kind: str, label: str = "OPTIONAL", more: str = "") -> str:
    named = f"type_name: '.{kind}'" if "." in kind else f"type: TYPE_{kind.upper()}"
    return f"field {{ name: '{name}' number: {number} label: LABEL_{label} {named} {more} }}"


def entry(name: str, key: str, value: str) -> str:
    fields = field("key", 1, key) + field("value", 2, value)
    return f"nested_type {{ name: '{name}' {fields} options {{ map_entry: true }} }}"


RICH = f"""
name: "rich.proto" package: "p" syntax: "proto3"
dependency: "google/protobuf/wrappers.proto" dependency: "google/protobuf/timestamp.proto"
enum_type {{ name: "Color" value {{ name: "RED" number: 0 }} value {{ name: "BLUE" number: 5 }} }}
message_type {{ name: "Leaf" {field("a", 1, "int32")} {field("texts", 2, "string", "REPEATED")} }}
message_type {{ name: "Rich"
  {"".join(field(f"one_{kind}", at + 1, kind) for at, kind in enumerate(SCALARS))}
  {"".join(field(f"many_{kind}", at + 21, kind, "REPEATED") for at, kind in enumerate(SCALARS))}
  {field("color", 41, "p.Color")} {field("colors", 42, "p.Color", "REPEATED")}
  {field("leaf", 43, "p.Leaf")} {field("leaves", 44, "p.Leaf", "REPEATED")}
  {field("count", 45, "int64", more="oneof_index: 1 proto3_optional: true")}
  {field("this", 46, "string", more="oneof_index: 0")} {field("that", 47, "p.Leaf", more="oneof_index: 0")}
  {field("sizes", 48, "p.Rich.SizesEntry", "REPEATED")} {field("by_number", 49, "p.Rich.ByNumberEntry", "REPEATED")}
  {field("wrapped", 50, "google.protobuf.Int64Value")} {field("data_type", 51, "string", more="json_name: 'dataType'")}
  {entry("SizesEntry", "string", "double")} {entry("ByNumberEntry", "int32", "p.Leaf")}
  oneof_decl {{ name: "choice" }} oneof_decl {{ name: "_count" }} }}
message_type {{ name: "Timed" {field("at", 1, "google.protobuf.Timestamp")} }}
message_type {{ name: "Tree" {field("next", 1, "p.Tree")} }}
message_type {{ name: "Empty" }}
"""
OLD = f"""
name: "old.proto" package: "p" syntax: "proto2"
message_type {{ name: "Old" {field("x", 1, "int32", "REQUIRED")} {field("text", 2, "string")} }}
"""


def sides(kind: str) -> str:
    """A proto2 message whose enums have that type."""
    inner = f"nested_type {{ name: 'Inner' {field('side', 1, kind)} }} {entry('ByNameEntry', 'string', kind)}"
    return f"""
name: "sides.proto" package: "p" syntax: "proto2"
enum_type {{ name: "Side" value {{ name: "LEFT" number: 0 }} value {{ name: "RIGHT" number: -2 }} }}
message_type {{ name: "Sides" {field("side", 1, kind)} {field("sides", 2, kind, "REPEATED")}
  {field("inner", 3, "p.Sides.Inner")} {field("by_name", 4, "p.Sides.ByNameEntry", "REPEATED")} {inner} }}
"""


def descriptor_set(*texts: str, imports: bool = True) -> Any:
    files = descriptor_pb2.FileDescriptorSet()
    for module in (wrappers_pb2, timestamp_pb2) if imports else ():
        files.file.add().ParseFromString(module.DESCRIPTOR.serialized_pb)
    for text in texts:
        text_format.Parse(text, files.file.add())
    return files


def message_class(text: str, name: str) -> Any:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_set(text).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def kind_of(folder: Path, text: str, name: str) -> RecordType:
    file = folder / "set.binpb"
    file.write_bytes(descriptor_set(text).SerializeToString())
    return RecordType.named(f"{file}#{name}", "protobuf")


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> RecordType:
    return kind_of(tmp_path_factory.mktemp("rich"), RICH, "p.Rich")


Rich = message_class(RICH, "p.Rich")


def decode(kind: RecordType, *values: bytes | None) -> DecodedRecords:
    return kind.codec.decode(pa.array(values, pa.binary()))


def as_json(value: Any) -> Any:
    """A row in protobuf's JSON mapping."""
    if isinstance(value, dict):
        return {name: as_json(one) for name, one in value.items() if one is not None}
    if isinstance(value, list):
        return [as_json(one) for one in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "bool": st.booleans(),
    "string": TEXT,
    "bytes": st.binary(max_size=5),
}
for _kind in SCALARS:
    _bits = 32 if _kind.endswith("32") else 64
    _lowest, _highest = (0, 2**_bits) if _kind[0] in "uf" else (-(2 ** (_bits - 1)), 2 ** (_bits - 1))
    VALUES.setdefault(_kind, st.integers(_lowest, _highest - 1))
LEAVES = st.fixed_dictionaries({}, optional={"a": VALUES["int32"], "texts": st.lists(TEXT, max_size=3)})
RICHES = st.fixed_dictionaries(
    {},
    optional={
        **{f"one_{kind}": VALUES[kind] for kind in SCALARS},
        **{f"many_{kind}": st.lists(VALUES[kind], max_size=3) for kind in SCALARS},
        "color": st.sampled_from(["RED", "BLUE"]),
        "colors": st.lists(st.sampled_from(["RED", "BLUE"]), max_size=3),
        "leaf": LEAVES,
        "leaves": st.lists(LEAVES, max_size=3),
        "count": VALUES["int64"],
        "sizes": st.dictionaries(TEXT, VALUES["double"], max_size=3),
        "data_type": TEXT,
    },
)
CHOICES = st.sampled_from([{}, {"this": ""}, {"this": "é"}, {"that": {}}, {"that": {"a": 1}}])


@given(st.lists(st.builds(lambda row, choice: Rich(**row, **choice), RICHES, CHOICES), max_size=4))
def test_rows_are_what_protobufs_own_json_mapping_says(rich: RecordType, messages: list[Any]) -> None:
    for number, message in enumerate(messages):
        message.by_number[number].a = number
        message.wrapped.value = number
    decoded = decode(rich, *(message.SerializeToString() for message in messages))
    assert not decoded.errors
    rows = rows_of(decoded.columns)
    assert [json_format.ParseDict(as_json(row), Rich()) for row in rows] == messages


def test_what_is_not_set_is_null_only_where_presence_is_known(rich: RecordType) -> None:
    (row,) = rows_of(decode(rich, b"").columns)
    null = {name for name, value in row.items() if value is None}
    assert null == {"leaf", "count", "this", "that", "wrapped"}
    assert (row["one_int32"], row["one_string"], row["color"], row["many_bytes"], row["sizes"]) == (
        0,
        "",
        "RED",
        [],
        {},
    )
    assert row["dataType"] == ""
    assert rows_of(decode(rich, Rich(count=0).SerializeToString()).columns)[0]["count"] == 0


def test_an_unknown_enum_value_is_its_number_and_unknown_fields_are_ignored(rich: RecordType) -> None:
    message = Rich(color=9, colors=[5, 7]).SerializeToString() + b"\xa2\x1f\x01a"
    (row,) = rows_of(decode(rich, message).columns)
    assert (row["color"], row["colors"]) == ("9", ["BLUE", "7"])


def test_packed_and_unpacked_lists_are_the_same(rich: RecordType) -> None:
    packed = Rich(many_int32=[1, 2]).SerializeToString()
    tag = (23 << 3).to_bytes(1, "big") if 23 << 3 < 128 else bytes([(23 << 3) & 127 | 128, (23 << 3) >> 7])
    decoded = decode(rich, packed, tag + b"\x01" + tag + b"\x02")
    assert decoded.columns["many_int32"].to_pylist() == [[1, 2], [1, 2]]


GOOD = Rich(one_string="a", leaf={"a": 1}).SerializeToString()
MALFORMED = [
    (None, "no value"),
    (b"\xff", "truncated"),
    (GOOD[:-1], "truncated"),
    (GOOD + b"\0", "truncated"),
    (b"\x72\x01\xff", "not UTF-8"),
    (b"\x0f", "truncated"),
    (b"\x1a\x01a", "field p.Rich.one_int32 has wire type 2 instead of 0"),
    (GOOD + b"\x70\x01", "field p.Rich.one_string has wire type 0 instead of 2"),
    (b"\xda\x02\x02\x0a\x00", "field p.Leaf.a has wire type 2 instead of 0"),
]


@pytest.mark.parametrize(("value", "reason"), MALFORMED)
def test_a_malformed_message_spoils_no_other_at_any_position(
    rich: RecordType, value: bytes | None, reason: str
) -> None:
    for place in range(4):
        values: list[bytes | None] = [GOOD, b"", GOOD]
        values.insert(place, value)
        decoded = decode(rich, *values)
        assert decoded.columns["one_string"].to_pylist() == ["a", "", "a"]
        assert decoded.places.tolist() == [at for at in range(4) if at != place]
        assert set(decoded.errors) == {place}
        assert "not a p.Rich record" in decoded.errors[place]
        assert reason in decoded.errors[place]


@given(st.lists(st.none() | st.binary(max_size=20)))
def test_each_arbitrary_message_is_a_row_or_an_error(rich: RecordType, values: list[bytes | None]) -> None:
    decoded = decode(rich, *values)
    assert sorted([*decoded.places.tolist(), *decoded.errors]) == list(range(len(values)))
    assert len(decoded.embedded) == len(decoded) == decoded.columns.num_rows


def test_proto2_requires_fields_and_refuses_texts_that_are_not_utf_8(tmp_path: Path) -> None:
    kind = kind_of(tmp_path, OLD, "p.Old")
    decoded = decode(kind, b"\x08\x01", b"", b"\x08\x01\x12\x01\xff", b"\x08\x02\x12\x01a")
    assert rows_of(decoded.columns) == [{"x": 1, "text": None}, {"x": 2, "text": "a"}]
    assert "required fields are missing: x" in decoded.errors[1]
    assert set(decoded.errors) == {1, 2}


def with_numbers(**fields: Any) -> bytes:
    """A message `Sides` whose enums are plain numbers, as a producer with a newer schema may write them."""
    return bytes(message_class(sides("int32"), "p.Sides")(**fields).SerializeToString())


@pytest.mark.parametrize("number", [7, 1, -5, 2**31 - 1, -(2**31)])
def test_a_number_that_a_closed_enum_does_not_name_is_its_text_as_for_open_ones(tmp_path: Path, number: int) -> None:
    kind = kind_of(tmp_path, sides("p.Side"), "p.Sides")
    message = with_numbers(side=number, inner={"side": number}, sides=[0, -2])
    row, empty = rows_of(decode(kind, message, b"").columns)
    assert (row["side"], row["inner"], row["sides"]) == (str(number), {"side": str(number)}, ["LEFT", "RIGHT"])
    assert (empty["side"], empty["inner"], empty["sides"]) == (None, None, [])


@pytest.mark.parametrize("fields", [{"sides": [0, 7]}, {"by_name": {"a": 7}}])
def test_a_list_or_map_of_a_closed_enum_loses_no_item_silently(tmp_path: Path, fields: dict[str, Any]) -> None:
    kind = kind_of(tmp_path, sides("p.Side"), "p.Sides")
    decoded = decode(kind, with_numbers(**fields), with_numbers(sides=[-2], by_name={"a": 0}))
    (name,) = fields
    assert decoded.errors == {
        0: f"not a p.Sides record: field p.Sides.{name} has an enum value that the schema does not name"
    }
    assert [(row["sides"], dict(row["by_name"])) for row in rows_of(decoded.columns)] == [(["RIGHT"], {"a": "LEFT"})]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (b"\x0a\x01a\x15\0\0\0\0", "field p.Sides.ByNameEntry.value has wire type 5 instead of 0"),
        (b"\x0a\x01a\x12\x01x", "field p.Sides.ByNameEntry.value has wire type 2 instead of 0"),
        (b"\x08\x01\x10\x00", "field p.Sides.ByNameEntry.key has wire type 0 instead of 2"),
        (b"\x0a\x01a\x10\x00\x18\x01", "an entry of field p.Sides.by_name has field 3, which is neither key nor value"),
        (b"\x0a\x01a\x10\x07", "field p.Sides.by_name has an enum value that the schema does not name"),
    ],
)
def test_a_malformed_entry_of_a_map_of_a_closed_enum_is_named(tmp_path: Path, entry: bytes, reason: str) -> None:
    kind = kind_of(tmp_path, sides("p.Side"), "p.Sides")
    message = b"\x22" + bytes([len(entry)]) + entry
    assert decode(kind, message).errors == {0: f"not a p.Sides record: {reason}"}


def test_timestamps_are_structs_and_a_message_may_have_no_fields(tmp_path: Path) -> None:
    timed = kind_of(tmp_path, RICH, "p.Timed")
    message = timed.codec.encode({"at": {"seconds": 5, "nanos": 7}})
    assert rows_of(decode(timed, message, b"").columns) == [{"at": {"seconds": 5, "nanos": 7}}, {"at": None}]
    assert len(decode(kind_of(tmp_path, RICH, "p.Empty"), b"", b"\xff", b"")) == 2


def test_a_message_of_10_mb_is_read(rich: RecordType) -> None:
    message = Rich(many_double=[0.5] * 1_250_000, one_bytes=b"x" * 100_000)
    decoded = decode(rich, message.SerializeToString())
    assert decoded.columns["many_double"].flatten().sum().as_py() == 625_000


def test_the_record_type_pickles_and_rows_become_messages(rich: RecordType) -> None:
    copy = pickle.loads(pickle.dumps(rich))
    row = {"one_int64": 5, "leaf": {"a": 1}, "color": "BLUE", "count": None, "dataType": "d", "other": 1}
    assert Rich.FromString(copy.codec.encode(row)) == Rich(one_int64=5, leaf={"a": 1}, color=5, data_type="d")
    assert copy.codec.columns_of(row)["dataType"].to_pylist() == ["d"]


@pytest.mark.parametrize(
    ("files", "name", "reason"),
    [
        (descriptor_set(RICH), "#p.Nothing", "there is no message 'p.Nothing'; the last file declares: p.Leaf, p.Rich"),
        (descriptor_set(RICH), "", "write FILE#NAME with one of: p.Leaf"),
        (descriptor_set(RICH), "#p.Tree", "p.Tree contains itself .p.Tree > p.Tree.; recursive"),
        (descriptor_set(RICH, imports=False), "#p.Rich", "make it with protoc --include_imports"),
        (descriptor_set(imports=False), "", "does not name a message"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_with_the_remedy(
    tmp_path: Path, files: Any, name: str, reason: str
) -> None:
    file = tmp_path / "set.binpb"
    file.write_bytes(files.SerializeToString())
    with pytest.raises(SchemaError, match=reason):
        RecordType.named(f"{file}{name}", "protobuf")


def test_a_file_that_is_no_descriptor_set_is_refused_and_one_message_needs_no_name(tmp_path: Path) -> None:
    file = tmp_path / "set.binpb"
    with pytest.raises(SchemaError, match=r"not a readable file: .* as FILE#PACKAGE.MESSAGE"):
        RecordType.named(f"{file}#p.Old", "protobuf")
    file.write_bytes(b'syntax = "proto3";')
    with pytest.raises(SchemaError, match="is not a descriptor set"):
        RecordType.named(f"{file}#p.Old", "protobuf")
    file.write_bytes(descriptor_set(OLD).SerializeToString())
    assert RecordType.named(str(file), "protobuf").name == "p.Old"
