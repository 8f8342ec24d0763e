"""From Avro schemas to Arrow types.

| Avro | Arrow |
|---|---|
| null, boolean, int, long, float, double | null, bool, int32, int64, float32, float64 |
| bytes, fixed | binary, fixed_size_binary (binary if it is wider than 1 KiB) |
| string, enum | string |
| array, map | list, map |
| record | struct |
| union of null and one type | that type, nullable |
| any other union | dense_union, a child for each branch, named as Avro names the branch |

Logical types are ignored: a model takes the underlying numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import fastavro
import pyarrow as pa

_PRIMITIVES: Mapping[str, pa.DataType] = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}
# Arrow reserves the space of a fixed_size_binary even for null and malformed values.
_WIDEST_FIXED = 1_024


class RecursiveTypeError(ValueError):
    """A type contains itself, which Arrow does not support."""


@dataclass(frozen=True)
class AvroType:
    """One type of a schema, with its references followed.

    Attributes:
      kind: Avro's name of the type: "long", "array", "record", "union", ...
      arrow: the Arrow type of its values.
      name: the full name of a named type; otherwise the kind.
      children: the types of an array's items, a map's values, a union's branches or a record's fields.
      names: the names of a record's fields, or the symbols of an enum.
      size: the number of bytes of a fixed.
      nullable_branch: in a union of null and one other type, the index of the other type.
    """

    kind: str
    arrow: pa.DataType
    name: str
    children: tuple[AvroType, ...] = ()
    names: tuple[str, ...] = ()
    size: int = 0
    nullable_branch: int | None = None

    @cached_property
    def least_bytes(self) -> int:
        """The length of the shortest encoding of a value."""
        if self.kind == "record":
            return sum(child.least_bytes for child in self.children)
        return {"null": 0, "float": 4, "double": 8, "fixed": self.size}.get(self.kind, 1)

    @cached_property
    def breadth(self) -> int:
        """The number of types that it contains, including itself."""
        return 1 + sum(child.breadth for child in self.children)

    @cached_property
    def entry(self) -> AvroType:
        """The type of a map's entries, as a record."""
        key, (value,) = AvroType("string", pa.string(), "string"), self.children
        arrow = pa.struct([pa.field("key", key.arrow), pa.field("value", value.arrow)])
        return AvroType("record", arrow, "entry", (key, value), ("key", "value"))


def avro_type(schema: Any) -> AvroType:
    """The type of a schema that fastavro has parsed, or can parse.

    Raises:
      RecursiveTypeError: a type contains itself.

    Example:
      >>> avro_type({"type": "array", "items": ["null", "long"]}).arrow
      ListType(list<item: int64>)
    """
    return _type(*named_types(schema), ())


def named_types(schema: Any) -> tuple[Any, dict[str, Any]]:
    """The schema as parsed by fastavro, and its named types by their full names."""
    named: dict[str, Any] = {}
    return fastavro.parse_schema(schema, named), named


def record_type(schema: Any) -> tuple[AvroType, bool]:
    """The type of a record schema without recursive fields, and whether it is complete."""
    parsed, named = named_types(schema)
    try:
        return _type(parsed, named, ()), True
    except RecursiveTypeError:
        pass
    names, children = [], []
    for one in parsed["fields"]:
        try:
            children.append(_type(one["type"], named, (parsed["name"],)))
        except RecursiveTypeError:
            continue
        names.append(one["name"])
    arrow = pa.struct([pa.field(name, child.arrow) for name, child in zip(names, children, strict=True)])
    return AvroType("record", arrow, parsed["name"], tuple(children), tuple(names)), False


def without_logical_types(schema: Any) -> Any:
    """The schema without its logical types."""
    if isinstance(schema, list):
        return [without_logical_types(branch) for branch in schema]
    if isinstance(schema, dict):
        return {name: without_logical_types(value) for name, value in schema.items() if name != "logicalType"}
    return schema


def _type(schema: Any, named: Mapping[str, Any], open_names: tuple[str, ...]) -> AvroType:
    if isinstance(schema, list):
        return _union([_type(branch, named, open_names) for branch in schema])
    if isinstance(schema, str):
        if schema in _PRIMITIVES:
            return AvroType(schema, _PRIMITIVES[schema], schema)
        if schema in open_names:
            raise RecursiveTypeError(f"type {schema!r} contains itself")
        return _type(named[schema], named, open_names)
    kind = schema["type"]
    if isinstance(kind, (dict, list)) or kind in _PRIMITIVES:
        return _type(kind, named, open_names)
    if kind == "array":
        item = _type(schema["items"], named, open_names)
        return AvroType("array", pa.list_(item.arrow), "array", (item,))
    if kind == "map":
        value = _type(schema["values"], named, open_names)
        return AvroType("map", pa.map_(pa.string(), value.arrow), "map", (value,))
    if kind == "fixed":
        size = schema["size"]
        return AvroType("fixed", pa.binary(size if size <= _WIDEST_FIXED else -1), schema["name"], size=size)
    if kind == "enum":
        return AvroType("enum", pa.string(), schema["name"], names=tuple(schema["symbols"]))
    if kind in ("record", "error"):
        return _record(schema, named, open_names)
    if kind in open_names:
        raise RecursiveTypeError(f"type {kind!r} contains itself")
    return _type(named[kind], named, open_names)


def _record(schema: Any, named: Mapping[str, Any], open_names: tuple[str, ...]) -> AvroType:
    name = schema["name"]
    if name in open_names:
        raise RecursiveTypeError(f"type {name!r} contains itself")
    names = tuple(one["name"] for one in schema["fields"])
    children = tuple(_type(one["type"], named, (*open_names, name)) for one in schema["fields"])
    arrow = pa.struct([pa.field(one, child.arrow) for one, child in zip(names, children, strict=True)])
    return AvroType("record", arrow, name, children, names)


def _union(branches: list[AvroType]) -> AvroType:
    others = [place for place, branch in enumerate(branches) if branch.kind != "null"]
    if len(others) == 1:
        return AvroType("union", branches[others[0]].arrow, "union", tuple(branches), nullable_branch=others[0])
    if not others:
        return AvroType("union", pa.null(), "union", tuple(branches))
    arrow = pa.dense_union([pa.field(branch.name, branch.arrow) for branch in branches])
    return AvroType("union", arrow, "union", tuple(branches))
