"""Random Avro schemas of all types, and random messages that follow them, in all the forms that Avro allows.

Messages are written here, byte by byte, and not by a library: libraries write one block for each array and the shortest
varints, but readers encounter other forms.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import fastavro

LONGS = (0, 1, -1, 63, 64, -64, -65, 300, 2**31 - 1, -(2**31), 2**31, 2**53 + 1, 2**55, 2**62, 2**63 - 1, -(2**63))
DOUBLES = (0.0, -0.0, 0.1, 1.5, -2.0, 1e300, 5e-324, float("inf"), float("-inf"), float("nan"), 2.0**53)
FLOATS = (0.0, -0.0, 0.5, -1.25, 16777216.0, float("inf"), float("-inf"), float("nan"))
TEXTS = ("", "a", "é", "\0", "日本語", "\U0001f600", "x" * 60, "y" * 300)
LOGICAL = {
    "int": ["date", "time-millis"],
    "long": ["timestamp-millis", "timestamp-micros", "time-micros", "local-timestamp-millis"],
    "string": ["uuid"],
    "bytes": ["decimal"],
}
PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
COMPLEX = ("fixed", "enum", "array", "map", "record", "union", "named", "logical")


@dataclass
class SchemaMaker:
    """Creates one random schema.

    Attributes:
      random: the source of all randomness.
      recursive: whether types may contain themselves.
    """

    random: random.Random
    recursive: bool = False
    _names: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)

    def record(self, depth: int = 3) -> dict[str, Any]:
        """A record schema."""
        full = self._name("R")
        schema: dict[str, Any] = {"type": "record", "name": full, "fields": []}
        self._open.append(full)
        for number in range(self.random.choice((0, 1, 2, 3, 4))):
            one: dict[str, Any] = {"name": f"f{number}", "type": self.type(depth - 1)}
            if self.random.random() < 0.1:
                one["aliases"] = [f"old{number}"]
            if one["type"] == "long" and self.random.random() < 0.3:
                one["default"] = 7
            schema["fields"].append(one)
        if self.recursive and self.random.random() < 0.7:
            wrap = self.random.choice((lambda t: ["null", t], lambda t: {"type": "array", "items": t}, _map_of))
            schema["fields"].append({"name": "again", "type": wrap(self.random.choice(self._open))})
        self._open.pop()
        self._names.append(full)
        return schema

    def type(self, depth: int, union: bool = True) -> Any:
        """Any type."""
        kind = self.random.choice(PRIMITIVES + (COMPLEX * 2 if depth > 0 else ("fixed", "enum", "logical")))
        if kind == "union" and not union:
            kind = "long"
        make: Callable[[int], Any] | None = getattr(self, f"_{kind}", None)
        return kind if make is None else make(depth)

    def _name(self, prefix: str) -> str:
        return f"{self.random.choice(('a', 'a.b', 'c'))}.{prefix}{self.random.getrandbits(48):x}"

    def _fixed(self, depth: int) -> Any:
        name = self._name("F")
        self._names.append(name)
        return {"type": "fixed", "name": name, "size": self.random.choice((0, 1, 2, 7, 16, 70, 1_024, 1_025))}

    def _enum(self, depth: int) -> Any:
        name = self._name("E")
        self._names.append(name)
        return {"type": "enum", "name": name, "symbols": [f"S{n}" for n in range(self.random.choice((1, 3, 70)))]}

    def _array(self, depth: int) -> Any:
        return {"type": "array", "items": self.type(depth - 1)}

    def _map(self, depth: int) -> Any:
        return _map_of(self.type(depth - 1))

    def _record(self, depth: int) -> Any:
        return self.record(depth)

    def _named(self, depth: int) -> Any:
        return self.random.choice(self._names) if self._names else "string"

    def _logical(self, depth: int) -> Any:
        kind = self.random.choice(sorted(LOGICAL))
        return {"type": kind, "logicalType": self.random.choice(LOGICAL[kind]), "precision": 5, "scale": 1}

    def _union(self, depth: int) -> Any:
        branches: list[Any] = []
        seen: set[str] = set()
        for _ in range(self.random.choice((1, 2, 2, 2, 3, 5))):
            one = "null" if self.random.random() < 0.4 else self.type(depth - 1, union=False)
            kind = one if isinstance(one, str) else one["type"]
            key = one["name"] if isinstance(one, dict) and "name" in one else kind
            if key not in seen:
                seen.add(key)
                branches.append(one)
        return branches


def _map_of(values: Any) -> Any:
    return {"type": "map", "values": values}


@dataclass
class MessageMaker:
    """Creates random messages of one schema.

    Attributes:
      random: the source of all randomness.
      schema: a record schema.
      most: the maximum number of items in an array.
    """

    random: random.Random
    schema: Any
    most: int = 4

    def __post_init__(self) -> None:
        self._named: dict[str, Any] = {}
        self._parsed = fastavro.parse_schema(self.schema, self._named)

    def message(self) -> bytes:
        """One message."""
        out = bytearray()
        self._write(self._parsed, out, 5)
        return bytes(out)

    def _write(self, schema: Any, out: bytearray, depth: int) -> None:
        if isinstance(schema, list):
            branch = self.random.randrange(len(schema))
            if depth <= 0 and "null" in schema:
                branch = schema.index("null")
            out += varint(branch)
            return self._write(schema[branch], out, depth - 1)
        kind = schema if isinstance(schema, str) else schema["type"]
        if isinstance(kind, (dict, list)):
            return self._write(kind, out, depth)
        write = _WRITERS.get(kind)
        if write is not None:
            return write(self, {} if isinstance(schema, str) else schema, out, depth)
        return self._write(self._named[kind], out, depth)

    def _write_int(self, schema: Mapping[str, Any], out: bytearray, depth: int) -> None:
        out += varint(self.random.choice([one for one in LONGS if -(2**31) <= one < 2**31]), self.random)

    def _write_long(self, schema: Mapping[str, Any], out: bytearray, depth: int) -> None:
        out += varint(self.random.choice((self.random.choice(LONGS), self.random.getrandbits(62))), self.random)

    def _write_bytes(self, schema: Mapping[str, Any], out: bytearray, depth: int) -> None:
        content = self.random.choice(TEXTS).encode()
        out += varint(len(content)) + content

    def _write_enum(self, schema: Mapping[str, Any], out: bytearray, depth: int) -> None:
        out += varint(self.random.randrange(len(schema["symbols"])))

    def _write_items(self, schema: Mapping[str, Any], out: bytearray, depth: int) -> None:
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 3)) if depth > 0 else 0):
            items = bytearray()
            count = self.random.randint(1, self.most)
            for _ in range(count):
                if schema["type"] == "map":
                    self._write_bytes({}, items, 0)
                self._write(schema["items" if schema["type"] == "array" else "values"], items, depth - 1)
            sized = self.random.random() < 0.5
            out += (varint(-count) + varint(len(items)) if sized else varint(count)) + items
        out += varint(0)

    def _write_record(self, schema: Mapping[str, Any], out: bytearray, depth: int) -> None:
        for one in schema["fields"]:
            self._write(one["type"], out, depth - 1)


_WRITERS: dict[str, Callable[[MessageMaker, Mapping[str, Any], bytearray, int], None]] = {
    "null": lambda self, schema, out, depth: None,
    "boolean": lambda self, schema, out, depth: out.append(self.random.randrange(2)),
    "int": MessageMaker._write_int,
    "long": MessageMaker._write_long,
    "float": lambda self, schema, out, depth: out.extend(struct.pack("<f", self.random.choice(FLOATS))),
    "double": lambda self, schema, out, depth: out.extend(struct.pack("<d", self.random.choice(DOUBLES))),
    "bytes": MessageMaker._write_bytes,
    "string": MessageMaker._write_bytes,
    "fixed": lambda self, schema, out, depth: out.extend(self.random.randbytes(schema["size"])),
    "enum": MessageMaker._write_enum,
    "array": MessageMaker._write_items,
    "map": MessageMaker._write_items,
    "record": MessageMaker._write_record,
}


def varint(value: int, source: random.Random | None = None) -> bytes:
    r"""A long; with a source of randomness, sometimes longer than necessary, which the specification allows.

    Example:
      >>> varint(-65)
      b'\x81\x01'
    """
    rest = (value << 1) ^ (value >> 63)
    encoded = bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    if source is not None and source.random() < 0.1 and len(encoded) < 10:
        padding = source.randint(1, 10 - len(encoded))
        encoded[-1] |= 0x80
        encoded += b"\x80" * (padding - 1) + b"\0"
    return bytes(encoded)
