"""The supported types of Avro: how they are read, and which type accepts the values of which."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import TypeAlias

from models.scorers.pfa.elements import Element

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Primitive:
    """A type without parts, such as double."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Enum:
    """One of some symbols."""

    name: str
    symbols: tuple[str, ...]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Array:
    """Items of one type."""

    items: Type

    def __str__(self) -> str:
        return f"array of {self.items}"


@dataclass(frozen=True)
class Map:
    """Values of one type by key.

    The keys of computed values are known in advance, and are the same in all rows. In declarations, None stands for any
    keys.
    """

    values: Type
    keys: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return f"map of {self.values}"


@dataclass(frozen=True)
class Record:
    """Named fields. Records of the same name are equal, because a document declares each name once."""

    name: str
    table: Mapping[str, Mapping[str, Type]] = field(compare=False, repr=False)

    @property
    def fields(self) -> Mapping[str, Type]:
        """The types of its fields."""
        return self.table[self.name]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Union:
    """A value that has one of several types."""

    members: tuple[Type, ...]

    def __str__(self) -> str:
        return f"union of {', '.join(map(str, self.members))}"


Type: TypeAlias = Primitive | Enum | Array | Map | Record | Union

NULL, BOOLEAN, STRING = Primitive("null"), Primitive("boolean"), Primitive("string")
INT, LONG, FLOAT, DOUBLE = Primitive("int"), Primitive("long"), Primitive("float"), Primitive("double")
NUMBERS = (INT, LONG, FLOAT, DOUBLE)  # each may stand for those behind it
_PRIMITIVES = {one.name: one for one in (NULL, BOOLEAN, *NUMBERS, STRING)}
RANGES = {INT: (-(2**31), 2**31 - 1), LONG: (-(2**63), 2**63 - 1)}


def tag_of(member: Type) -> str:
    """The name that marks the type of a value in a union."""
    if isinstance(member, (Primitive, Enum, Record)):
        return member.name
    return "array" if isinstance(member, Array) else "map"


def accepts(wanted: Type, found: Type) -> bool:
    """Whether a value of the second type may be used where the first one is expected.

    >>> accepts(DOUBLE, INT), accepts(INT, DOUBLE), accepts(Union((NULL, DOUBLE)), LONG)
    (True, False, True)
    """
    if isinstance(found, Union):
        return all(accepts(wanted, member) for member in found.members)
    if isinstance(wanted, Union):
        return any(accepts(member, found) for member in wanted.members)
    if wanted in NUMBERS and found in NUMBERS:
        return NUMBERS.index(found) <= NUMBERS.index(wanted)
    if isinstance(wanted, Array) and isinstance(found, Array):
        return accepts(wanted.items, found.items)
    if isinstance(wanted, Map) and isinstance(found, Map):
        return accepts(wanted.values, found.values) and wanted.keys in (None, found.keys)
    return wanted == found


def refined(wanted: Type, found: Type) -> Type:
    """The wanted type, with the keys of maps that the type of an accepted value names."""
    if isinstance(wanted, Array) and isinstance(found, Array):
        return Array(refined(wanted.items, found.items))
    if isinstance(wanted, Map) and isinstance(found, Map):
        return Map(refined(wanted.values, found.values), found.keys)
    return wanted


def broadest(types: Sequence[Type]) -> Type | None:
    """The narrowest type that accepts all of these without forming a union; None if there is none."""
    for wanted in types:
        if all(accepts(wanted, one) for one in types):
            return wanted
    if all(isinstance(one, Array) for one in types):
        items = broadest([one.items for one in types if isinstance(one, Array)])
        return None if items is None else Array(items)
    return None


def union_of(types: Sequence[Type]) -> Type:
    """The narrowest type that accepts all of these; a union if no other type does."""
    return reduce(_joined, types)


def _joined(one: Type, other: Type) -> Type:
    found = broadest([one, other])
    if found is not None:
        return found
    members: list[Type] = []
    for member in (*_members(one), *_members(other)):
        wider = next((place for place, known in enumerate(members) if broadest([known, member])), None)
        if wider is None:
            members.append(member)
        else:
            members[wider] = broadest([members[wider], member]) or member
    return Union(tuple(members))


def _members(one: Type) -> tuple[Type, ...]:
    return one.members if isinstance(one, Union) else (one,)


def without_null(union: Union) -> Type:
    """A union without its member null."""
    rest = tuple(member for member in union.members if member != NULL)
    return rest[0] if len(rest) == 1 else Union(rest)


def is_nullable(one: Type) -> bool:
    """Whether the type is a union of null and another type."""
    return isinstance(one, Union) and NULL in one.members and len(one.members) > 1


def is_recursive(one: Type, around: frozenset[str] = frozenset()) -> bool:
    """Whether a value may contain other values of the same type, as nodes of trees do."""
    if isinstance(one, Record):
        if one.name in around:
            return True
        return any(is_recursive(inner, around | {one.name}) for inner in one.fields.values())
    if isinstance(one, Union):
        return any(is_recursive(member, around) for member in one.members)
    inner = one.items if isinstance(one, Array) else one.values if isinstance(one, Map) else None
    return inner is not None and is_recursive(inner, around)


class TypeTable:
    """Reads types; a name may be used before the place that declares it, as in PFA.

    Args:
      document: the whole document, which is searched for declarations.
    """

    def __init__(self, document: Element) -> None:
        self._declared: dict[str, Element] = {}
        self._enums: dict[str, Enum] = {}
        self._fields: dict[str, dict[str, Type]] = {}
        for element in _declarations(document):
            name = element.need("name").text()
            if self._declared.setdefault(name, element).value != element.value:
                element.refuse(f"the type {name!r} is declared twice, in different ways")
        for element in self._declared.values():
            self._declare(element)

    def _declare(self, element: Element) -> None:
        name, kind = element.need("name").text(), element.value["type"]
        if not _NAME.fullmatch(name) or name in _PRIMITIVES:
            element.refuse(f"{name!r} is not supported as the name of a type, because namespaces are not supported")
        if kind == "enum":
            element.check("type name symbols aliases")
            symbols = tuple(one.text() for one in element.need("symbols").items())
            self._enums[name] = Enum(name, symbols)
            return
        element.check("type name fields aliases")
        self._fields[name] = {}
        for one in element.need("fields").items():
            one.check("name type default order aliases")
            if one.value.get("order", "ascending") != "ascending":
                one.refuse("the only supported order of fields is ascending")
            field_name = one.need("name").text()
            if field_name in self._fields[name]:
                one.refuse(f"the field {field_name!r} occurs twice")
            self._fields[name][field_name] = self.read(one.need("type"))

    def read(self, element: Element) -> Type:
        """The type that an element declares; raises ModelLoadError if there is no such type, or it is not supported."""
        if isinstance(element.value, list):
            return self._union(element)
        if isinstance(element.value, str):
            return self._named(element.value, element)
        kind = element.need("type")
        if isinstance(kind.value, (dict, list)):
            return self.read(kind)
        if kind.value == "array":
            return Array(self.read(element.need("items")))
        if kind.value == "map":
            return Map(self.read(element.need("values")))
        if kind.value in ("record", "enum"):
            return self._named(element.need("name").text(), element)
        if "logicalType" in element.value:
            element.refuse("logical types are not supported")
        return self._named(kind.text(), kind)

    def _union(self, element: Element) -> Type:
        members = tuple(self.read(one) for one in element.items())
        tags = [tag_of(member) for member in members]
        if not members or len(set(tags)) != len(tags) or any(isinstance(member, Union) for member in members):
            element.refuse("the members of a union must have different types, and must not be unions")
        return Union(members)

    def _named(self, name: str, element: Element) -> Type:
        if name in _PRIMITIVES:
            return _PRIMITIVES[name]
        if name not in self._declared:
            element.refuse(f"the type {name[:100]!r} is not supported, or not declared")
        if self._declared[name].value["type"] == "enum":
            if name not in self._enums:
                self._declare(self._declared[name])
            return self._enums[name]
        return Record(name, self._fields)


def _declarations(document: Element) -> list[Element]:
    """All declarations of records and enums, except data that only look like declarations."""
    found, waiting = [], [document]
    while waiting:
        element = waiting.pop()
        if isinstance(element.value, list):
            waiting += element.items()
        elif isinstance(element.value, dict):
            kind = element.value.get("type")
            if kind in ("record", "enum") and "name" in element.value:
                found.append(element)
            data = {"init"} if "init" in element.value else {"value"} if "value" in element.value and kind else set()
            waiting += [child for key, child in element.members() if key not in (*data, "metadata", "symbols")]
    return found[::-1]
