"""Values that are known in advance (cells and literals), as Python values and as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.scorers.pfa.avro_types import (
    BOOLEAN,
    DOUBLE,
    FLOAT,
    NULL,
    RANGES,
    STRING,
    Array,
    Enum,
    Map,
    Record,
    Type,
    Union,
    accepts,
    tag_of,
)
from models.scorers.pfa.columns import Column, Fields, Lists, Nulls, Scalars, Tagged, dtype_of, filler, merged
from models.scorers.pfa.elements import Element

Value = Any  # None, bool, int, float, str, tuple, dict, or Member


@dataclass(frozen=True)
class Member:
    """A value of a union, and the place of its type there."""

    place: int
    value: Value


def read_value(element: Element, wanted: Type) -> Value:
    """Reads an element as a value of a type, in Avro's JSON encoding.

    Raises:
      ModelLoadError: the element is not a value of the type.
    """
    value = element.value
    if isinstance(wanted, Union):
        return _member(element, wanted)
    if isinstance(wanted, Array):
        return tuple([read_value(one, wanted.items) for one in element.items()])
    if isinstance(wanted, Map):
        return {key: read_value(one, wanted.values) for key, one in element.members()}
    if isinstance(wanted, Record):
        if element.object().keys() != wanted.fields.keys():
            element.refuse(f"the type {wanted} has the fields {', '.join(wanted.fields)}, but it has {_keys(value)}")
        return {key: read_value(element.child(key), inner) for key, inner in wanted.fields.items()}
    if isinstance(wanted, Enum):
        if value not in wanted.symbols:
            element.refuse(f"{element.shown()} is not one of the symbols of {wanted}")
        return value
    return _scalar(element, wanted)


def _keys(value: dict[str, Any]) -> str:
    return ", ".join(value) or "none"


def _scalar(element: Element, wanted: Type) -> Value:
    value = element.value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if wanted in (DOUBLE, FLOAT) and is_number and abs(value) < 1e308:
        return float(value) if wanted == DOUBLE else float(np.float32(value))
    if wanted in RANGES and isinstance(value, int) and is_number:
        least, most = RANGES[wanted]
        if least <= value <= most:
            return value
    kinds = {NULL: type(None), BOOLEAN: bool, STRING: str}
    if wanted not in kinds or not isinstance(value, kinds[wanted]):
        element.refuse(f"{element.shown()} is not a value of the type {wanted}")
    return value


def _member(element: Element, wanted: Union) -> Member:
    value = element.value
    if value is None and NULL in wanted.members:
        return Member(wanted.members.index(NULL), None)
    if isinstance(value, dict) and len(value) == 1:
        for place, member in enumerate(wanted.members):
            if tag_of(member) in value and member != NULL:
                return Member(place, read_value(element.child(tag_of(member)), member))
    return element.refuse(
        f"{element.shown()} is not a value of the {wanted}: an object with the name of one is expected"
    )


def value_type(wanted: Type, value: Value) -> Type:
    """The type of a value, with the keys of its maps if all of them have the same keys."""
    if isinstance(wanted, Map):
        inner = {value_type(wanted.values, one) for one in value.values()}
        return Map(inner.pop() if len(inner) == 1 else wanted.values, tuple(sorted(value)))
    if isinstance(wanted, Array) and isinstance(wanted.items, (Map, Array)):
        inner = {value_type(wanted.items, one) for one in value}
        return Array(inner.pop() if len(inner) == 1 else wanted.items)
    return wanted


def converted(value: Value, found: Type, wanted: Type) -> Value:
    """Converts a value to a type that accepts it."""
    if found == wanted or isinstance(found, Record):
        return value if not isinstance(wanted, Union) or found == wanted else _wrapped(value, found, wanted)
    if isinstance(found, Union):
        member = found.members[value.place]
        return converted(value.value, member, wanted)
    if isinstance(wanted, Union):
        return _wrapped(value, found, wanted)
    if isinstance(wanted, Array) and isinstance(found, Array):
        return tuple([converted(one, found.items, wanted.items) for one in value])
    if isinstance(wanted, Map) and isinstance(found, Map):
        return {key: converted(one, found.values, wanted.values) for key, one in value.items()}
    return float(value) if wanted in (FLOAT, DOUBLE) else value


def _wrapped(value: Value, found: Type, wanted: Union) -> Member:
    place = member_place(wanted, found)
    return Member(place, converted(value, found, wanted.members[place]))


def member_place(union: Union, found: Type) -> int:
    """The member of a union that a value of that type becomes: the same type, otherwise the first that accepts it."""
    if found in union.members:
        return union.members.index(found)
    return next(place for place, member in enumerate(union.members) if accepts(member, found))


def count_values(value: Value) -> int:
    """The number of scalars in a value."""
    if isinstance(value, Member):
        return count_values(value.value)
    if isinstance(value, dict):
        return sum(count_values(one) for one in value.values())
    return sum(count_values(one) for one in value) if isinstance(value, tuple) else 1


def column_of(wanted: Type, values: Sequence[Value]) -> Column:
    """Values of a type as a column."""
    if wanted == NULL:
        return Nulls(len(values))
    if isinstance(wanted, Array):
        items = [item for one in values for item in one]
        return Lists(np.array([len(one) for one in values], np.int64), column_of(wanted.items, items))
    if isinstance(wanted, (Map, Record)):
        inner = dict.fromkeys(wanted.keys or (), wanted.values) if isinstance(wanted, Map) else wanted.fields
        return Fields(
            len(values), {key: column_of(one, [value[key] for value in values]) for key, one in inner.items()}
        )
    if isinstance(wanted, Union):
        return _tagged(wanted, values)
    array = np.empty(len(values), dtype_of(wanted))
    array[:] = values
    return Scalars(array)


def _tagged(wanted: Union, values: Sequence[Member]) -> Column:
    tags = np.array([one.place for one in values], np.int64)
    members = []
    for place, member in enumerate(wanted.members):
        mine, others = np.flatnonzero(tags == place), np.flatnonzero(tags != place)
        given = column_of(member, [values[row].value for row in mine.tolist()])
        members.append(merged([(mine, given), (others, filler(member, len(others)))]))
    return Tagged(tags, tuple(members))
