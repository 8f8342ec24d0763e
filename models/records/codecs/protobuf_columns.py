"""Turns parsed protobuf messages into Arrow columns; the module `protobuf` lists the types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet

from models.errors import SchemaError
from models.records.record_type import DATA_TYPE_FIELD

_SCALARS = {
    FieldDescriptor.CPPTYPE_INT32: (pa.int32(), 0),
    FieldDescriptor.CPPTYPE_INT64: (pa.int64(), 0),
    FieldDescriptor.CPPTYPE_UINT32: (pa.uint32(), 0),
    FieldDescriptor.CPPTYPE_UINT64: (pa.uint64(), 0),
    FieldDescriptor.CPPTYPE_DOUBLE: (pa.float64(), 1),
    FieldDescriptor.CPPTYPE_FLOAT: (pa.float32(), 5),
    FieldDescriptor.CPPTYPE_BOOL: (pa.bool_(), 0),
    FieldDescriptor.CPPTYPE_ENUM: (pa.string(), 0),
}
_FIXED_32 = (FieldDescriptor.TYPE_FIXED32, FieldDescriptor.TYPE_SFIXED32)
_FIXED_64 = (FieldDescriptor.TYPE_FIXED64, FieldDescriptor.TYPE_SFIXED64)
_DELIMITED, _GROUP = 2, 3
_WRAPPERS = tuple(
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)

Messages = Sequence[Any]


@dataclass(frozen=True)
class ValueType:
    """How values of one type become an array; None is null.

    Attributes:
      arrow: the type of the array.
      array: creates the array.
      nested: the columns of nested messages; None for other values.
    """

    arrow: pa.DataType
    array: Callable[[Sequence[Any]], pa.Array]
    nested: MessageColumns | None = None


@dataclass(frozen=True)
class Column:
    """One field of a message as a column.

    Attributes:
      field: the Arrow field.
      declared: the descriptor of the protobuf field.
      value: the type of its values or items.
      array: creates the column from messages.
    """

    field: pa.Field
    declared: Any
    value: ValueType
    array: Callable[[Messages], pa.Array]


@dataclass(frozen=True)
class MessageColumns:
    """The columns of one message type.

    Attributes:
      descriptor: the descriptor of the message type.
      columns: the column of each field, in declaration order.
      required: whether this message or a nested one has required fields.
    """

    descriptor: Any
    columns: tuple[Column, ...]
    required: bool

    def misfit(self, message: Any) -> str | None:
        """Names the first field, at any depth, that parsers have put among the unknown fields, at least in part.

        Parsers do so with a wrong wire type, with numbers that a closed enum of proto2 does not name, and with entries
        of its maps that contain more than a key and a value. They cannot be restored in a list or a map, because their
        places are lost.
        """
        for unknown in UnknownFieldSet(message):
            declared = self.descriptor.fields_by_number.get(unknown.field_number)
            if declared is None:
                continue
            if unknown.wire_type not in _wire_types(declared):
                return _wrong_type(declared, unknown.wire_type)
            if _is_map(declared):
                return _entry_misfit(declared, unknown.data)
            if declared.is_repeated:
                return _unnamed(declared)
        for column in self.columns:
            if column.value.nested is not None:
                for inner in _inner(message, column.declared):
                    reason = column.value.nested.misfit(inner)
                    if reason is not None:
                        return reason
        return None


def message_columns(descriptor: Any) -> MessageColumns:
    """The columns of a message type.

    Raises:
      SchemaError: the type contains itself, has two columns of the same name, or its data type is not a string.
    """
    columns = _message(descriptor, ())
    names = [column.field.name for column in columns.columns]
    if len(set(names)) < len(names):
        raise SchemaError(f"message {descriptor.full_name}: two fields have the same JSON name {DATA_TYPE_FIELD}")
    return columns


def _message(descriptor: Any, above: tuple[str, ...]) -> MessageColumns:
    if descriptor.full_name in above:
        raise SchemaError(
            f"message {descriptor.full_name} contains itself ({' > '.join((*above, descriptor.full_name))}); recursive "
            "messages cannot be columns"
        )
    inside = (*above, descriptor.full_name)
    columns = tuple(_column(declared, inside) for declared in descriptor.fields)
    nested = [column.value.nested for column in columns if column.value.nested is not None]
    required = any(declared.is_required for declared in descriptor.fields) or any(one.required for one in nested)
    return MessageColumns(descriptor, columns, required)


def _column(declared: Any, above: tuple[str, ...]) -> Column:
    name = DATA_TYPE_FIELD if len(above) == 1 and declared.json_name == DATA_TYPE_FIELD else declared.name
    if _is_map(declared):
        return _map_column(name, declared, above)
    value = _value(declared, above)
    if declared.is_repeated:
        listed = pa.list_(pa.field("item", value.arrow, nullable=False))
        return Column(pa.field(name, listed, False), declared, value, lambda some: _lists(some, declared, value))
    nullable = declared.has_presence and not declared.is_required
    return Column(
        pa.field(name, value.arrow, nullable), declared, value, lambda some: value.array(_singular(some, declared))
    )


def _singular(messages: Messages, declared: Any) -> list[Any]:
    name = declared.name
    if not declared.has_presence:
        return [getattr(one, name) for one in messages]
    absent = _unnamed_number if declared.enum_type is not None and declared.enum_type.is_closed else _nothing
    return [getattr(one, name) if one.HasField(name) else absent(one, declared) for one in messages]


def _nothing(message: Any, declared: Any) -> None:
    return None


def _unnamed_number(message: Any, declared: Any) -> int | None:
    """The last number of an enum field that its closed enum does not name; parsers leave such a field unset."""
    found = [one.data for one in UnknownFieldSet(message) if one.field_number == declared.number]
    return int(np.uint64(found[-1]).astype(np.int32)) if found else None


def _lists(messages: Messages, declared: Any, value: ValueType) -> pa.Array:
    items: list[Any] = []
    bounds = [0]
    for one in messages:
        items += getattr(one, declared.name)[:]
        bounds.append(len(items))
    kind = pa.list_(pa.field("item", value.arrow, nullable=False))
    return pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), value.array(items), type=kind)


def _map_column(name: str, declared: Any, above: tuple[str, ...]) -> Column:
    entry = declared.message_type
    key, value = _value(entry.fields_by_name["key"], above), _value(entry.fields_by_name["value"], above)
    kind = pa.map_(key.arrow, pa.field("value", value.arrow, nullable=False))

    def array(messages: Messages) -> pa.Array:
        maps = [list(getattr(one, declared.name).items()) for one in messages]
        bounds = np.concatenate([[0], np.cumsum([len(one) for one in maps])]).astype(np.int32)
        keys = key.array([name for one in maps for name, _ in one])
        values = value.array([content for one in maps for _, content in one])
        return pa.MapArray.from_arrays(pa.array(bounds), keys, values, type=kind)

    return Column(pa.field(name, kind, False), declared, value, array)


def _value(declared: Any, above: tuple[str, ...]) -> ValueType:
    if declared.message_type is not None:
        return _message_value(declared.message_type, above)
    if declared.enum_type is not None:
        return _enum_value(declared.enum_type)
    text = declared.type == FieldDescriptor.TYPE_STRING
    arrow = _SCALARS[declared.cpp_type][0] if declared.cpp_type in _SCALARS else pa.string() if text else pa.binary()
    return ValueType(arrow, lambda values: pa.array(values, arrow))


def _enum_value(enum: Any) -> ValueType:
    names = {number: one.name for number, one in enum.values_by_number.items()}

    def array(values: Sequence[Any]) -> pa.Array:
        return pa.array([None if one is None else names.get(one, str(one)) for one in values], pa.string())

    return ValueType(pa.string(), array)


def _message_value(descriptor: Any, above: tuple[str, ...]) -> ValueType:
    nested = _message(descriptor, above)
    if descriptor.full_name in _WRAPPERS:
        (content,) = nested.columns
        return ValueType(
            content.value.arrow,
            lambda values: content.value.array([None if one is None else one.value for one in values]),
            nested,
        )
    kind = pa.struct([column.field for column in nested.columns])
    empty = message_factory.GetMessageClass(descriptor)()

    def array(values: Sequence[Any]) -> pa.Array:
        if not nested.columns:
            return pa.array([None if one is None else {} for one in values], kind)
        missing = np.array([one is None for one in values], np.bool_)
        messages = [empty if one is None else one for one in values]
        arrays = [column.array(messages) for column in nested.columns]
        return pa.StructArray.from_arrays(arrays, fields=list(kind), mask=pa.array(missing))

    return ValueType(kind, array, nested)


def _is_map(declared: Any) -> bool:
    return declared.message_type is not None and bool(declared.message_type.GetOptions().map_entry)


def _entry_misfit(declared: Any, entry: bytes) -> str:
    """The reason why parsers have put an entry of a map among the unknown fields."""
    fields = declared.message_type.fields_by_number
    for one in UnknownFieldSet(Empty.FromString(entry)):
        known = fields.get(one.field_number)
        if known is None:
            return (
                f"an entry of field {declared.full_name} has field {one.field_number}, which is neither key nor value"
            )
        if one.wire_type != _wire_type(known):
            return _wrong_type(known, one.wire_type)
    return _unnamed(declared)


def _wrong_type(declared: Any, wire_type: int) -> str:
    return f"field {declared.full_name} has wire type {wire_type} instead of {_wire_type(declared)}"


def _unnamed(declared: Any) -> str:
    return f"field {declared.full_name} has an enum value that the schema does not name"


def _inner(message: Any, declared: Any) -> Sequence[Any]:
    if _is_map(declared):
        return list(getattr(message, declared.name).values())
    if declared.is_repeated:
        return list(getattr(message, declared.name))
    return [getattr(message, declared.name)] if message.HasField(declared.name) else []


def _wire_type(declared: Any) -> int:
    if declared.type == FieldDescriptor.TYPE_GROUP:
        return _GROUP
    if declared.type in _FIXED_32:
        return 5
    if declared.type in _FIXED_64:
        return 1
    return _SCALARS[declared.cpp_type][1] if declared.cpp_type in _SCALARS else _DELIMITED


def _wire_types(declared: Any) -> tuple[int, ...]:
    packed = declared.is_repeated and declared.cpp_type in _SCALARS
    return (_wire_type(declared), _DELIMITED) if packed else (_wire_type(declared),)
