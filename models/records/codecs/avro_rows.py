"""Reads Avro messages one by one, for types that cannot be read as whole columns, within the same limits.

fastavro would be faster, but it trusts the bytes: ten thousand levels of a type that contains itself overflow the stack
and crash the process, and an array of 2^60 nulls never returns.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from models.records.codecs.avro_types import named_types
from models.records.record_type import Row

# The limit for items that take no bytes, such as nulls in an array: ten bytes could announce 2^60 of them.
MOST_EMPTY_ITEMS = 4_096
_INT_LIMIT = 1 << 31


class RowReader:
    """Reads messages one by one. Thread-safe.

    Args:
      schema: a record schema, without logical types.

    Raises:
      EndlessTypeError: a type contains itself in every value, so it has no values.
    """

    def __init__(self, schema: Any) -> None:
        parsed, named = named_types(schema)
        self._read = _Compiler(named).reader(parsed, ())

    def read(self, value: bytes) -> Row:
        """Decodes one message.

        Raises:
          ValueError: the message is malformed; the text says why.
        """
        message = _Message(value)
        try:
            row: Row = self._read(message)
        except (IndexError, struct.error):
            raise ValueError("it ends in the middle of a value") from None
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        if message.at != len(value):
            raise ValueError(f"{len(value) - message.at} bytes follow its end")
        return row


class EndlessTypeError(ValueError):
    """Each value of the type would contain another one, so it has no values."""


class _Message:
    """A message and the reading position in it."""

    __slots__ = ("at", "data", "empty_items")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.empty_items = 0

    def long(self) -> int:
        data, at = self.data, self.at
        byte = data[at]
        value, shift = byte & 0x7F, 7
        while byte & 0x80 and shift < 70:
            at += 1
            byte = data[at]
            value |= (byte & 0x7F) << shift
            shift += 7
        if byte & 0x80 or value >> 64:
            raise ValueError("an integer does not fit 64 bits")
        self.at = at + 1
        return value >> 1 ^ -(value & 1)

    def slice(self, length: int) -> bytes:
        end = self.at + length
        if length < 0 or end > len(self.data):
            raise ValueError("a length reaches beyond its end")
        content = self.data[self.at : end]
        self.at = end
        return content

    def below(self, count: int, reason: str) -> int:
        """The next long, which must be below a count."""
        number = self.long()
        if not 0 <= number < count:
            raise ValueError(reason)
        return number

    def block(self) -> int:
        """The number of items of the next block."""
        count = self.long()
        if count < 0:  # the block's size in bytes follows, for readers that skip it
            self.long()
        return abs(count)

    def check_items(self, count: int, least_bytes: int) -> None:
        """Raises ValueError for more items than the message can contain."""
        if not least_bytes:
            self.empty_items += count
        if count * least_bytes > len(self.data) - self.at or self.empty_items > MOST_EMPTY_ITEMS:
            raise ValueError("an array has more items than bytes are left")


_Read = Callable[[_Message], Any]


def _read_int(message: _Message) -> int:
    value = message.long()
    if not -_INT_LIMIT <= value < _INT_LIMIT:
        raise ValueError("an int does not fit 32 bits")
    return value


def _read_bytes(message: _Message) -> bytes:
    return message.slice(message.long())


def _read_string(message: _Message) -> str:
    try:
        return message.slice(message.long()).decode()
    except UnicodeDecodeError:
        raise ValueError("a string is not UTF-8") from None


def _number_reader(layout: str) -> _Read:
    form = struct.Struct(layout)

    def read(message: _Message) -> Any:
        (value,) = form.unpack_from(message.data, message.at)
        message.at += form.size
        return value

    return read


_PRIMITIVES: Mapping[str, _Read] = {
    "null": lambda message: None,
    "boolean": _number_reader("?"),
    "int": _read_int,
    "long": _Message.long,
    "float": _number_reader("<f"),
    "double": _number_reader("<d"),
    "bytes": _read_bytes,
    "string": _read_string,
}
_LEAST_BYTES = {"null": 0, "float": 4, "double": 8}


class _Compiler:
    """Creates the readers of types; the reader of a recursive type refers to itself."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named
        self._readers: dict[str, list[_Read]] = {}

    def reader(self, schema: Any, within: tuple[str, ...]) -> _Read:
        """The reader of a type; `within` names the enclosing records, each value of which contains one of the type."""
        if isinstance(schema, list):
            return self._union(schema)
        kind = schema if isinstance(schema, str) else schema["type"]
        if isinstance(kind, (dict, list)):
            return self.reader(kind, within)
        if kind in _PRIMITIVES:
            return _PRIMITIVES[kind]
        if kind in ("array", "map"):
            return self._array(schema["items"]) if kind == "array" else self._map(schema["values"])
        if kind == "fixed":
            size = schema["size"]
            return lambda message: message.slice(size)
        if kind == "enum":
            symbols = schema["symbols"]
            return lambda message: symbols[message.below(len(symbols), "an enum has no such symbol")]
        return self._record(schema["name"] if kind in ("record", "error") else kind, within)

    def _record(self, name: str, within: tuple[str, ...]) -> _Read:
        if name in within:
            raise EndlessTypeError(f"each value of type {name!r} would contain another one")
        schema = self._named[name]
        if schema["type"] not in ("record", "error"):
            return self.reader(schema, within)
        if name not in self._readers:
            self._readers[name] = []
            fields = [(field["name"], self.reader(field["type"], (*within, name))) for field in schema["fields"]]
            self._readers[name].append(_record_reader(fields))
        made = self._readers[name]
        return made[0] if made else lambda message: made[0](message)

    def _union(self, branches: list[Any]) -> _Read:
        readers = [self.reader(branch, ()) for branch in branches]
        return lambda message: readers[message.below(len(readers), "a union has no such branch")](message)

    def _array(self, items: Any) -> _Read:
        read, least = self.reader(items, ()), self.least_bytes(items, ())

        def read_array(message: _Message) -> list[Any]:
            values: list[Any] = []
            while count := message.block():
                message.check_items(count, least)
                values += [read(message) for _ in range(count)]
            return values

        return read_array

    def _map(self, items: Any) -> _Read:
        read, least = self.reader(items, ()), 1 + self.least_bytes(items, ())

        def read_map(message: _Message) -> dict[str, Any]:
            values: dict[str, Any] = {}
            while count := message.block():
                message.check_items(count, least)
                for _ in range(count):
                    key = _read_string(message)
                    values[key] = read(message)
            return values

        return read_map

    def least_bytes(self, schema: Any, within: tuple[str, ...]) -> int:
        """The length of the shortest encoding of a value."""
        if isinstance(schema, str) and schema in self._named:
            schema = self._named[schema]
        kind = "union" if isinstance(schema, list) else schema if isinstance(schema, str) else schema["type"]
        if isinstance(kind, (dict, list)) or kind in self._named:
            return self.least_bytes(kind, within)
        if kind in ("record", "error"):
            if schema["name"] in within:
                raise EndlessTypeError(f"each value of type {schema['name']!r} would contain another one")
            return sum(self.least_bytes(one["type"], (*within, schema["name"])) for one in schema["fields"])
        return int(schema["size"]) if kind == "fixed" else _LEAST_BYTES.get(kind, 1)


def _record_reader(fields: list[tuple[str, _Read]]) -> _Read:
    def read(message: _Message) -> Row:
        row: Row = {}
        for name, read_field in fields:
            row[name] = read_field(message)
        return row

    return read
