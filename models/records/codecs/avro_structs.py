"""Converts rows to Arrow: Python values of an Avro type to an array of its Arrow type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from models.records.codecs.avro_types import AvroType
from models.records.record_type import Row

_LIMITS = {"int": 1 << 31, "long": 1 << 63}
# What Arrow and Python raise for values of the wrong type.
_MISFIT = (pa.ArrowException, AttributeError, OverflowError, TypeError, ValueError)


def batch_of(structs: pa.StructArray) -> pa.RecordBatch:
    """The fields of structs, none of which may be null, as columns."""
    if not structs.type.num_fields:
        return pa.RecordBatch.from_struct_array(structs)
    # `from_struct_array` would crash the process if a struct in a union has been through `take` (Arrow 25).
    columns = [structs.field(place) for place in range(structs.type.num_fields)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(list(structs.type)))


def structs_of(rows: Mapping[int, Row], kind: AvroType) -> tuple[pa.StructArray, dict[int, str]]:
    """The rows as structs, in the order of their places, and the reasons why some rows do not fit the columns."""
    try:
        return array_of(list(rows.values()), kind), {}
    except _MISFIT:
        pass
    fitting, errors = [], {}
    for place, row in rows.items():
        try:
            array_of([row], kind)
            fitting.append(row)
        except _MISFIT as error:
            errors[place] = " ".join(str(error).split())
    return array_of(fitting, kind), errors


def array_of(values: Sequence[Any], kind: AvroType) -> pa.Array:
    """Python values, with None for null, as an array of the type's Arrow type."""
    if kind.nullable_branch is not None:
        return array_of(values, kind.children[kind.nullable_branch])
    if kind.kind in _MAKERS and not (kind.kind == "union" and pa.types.is_null(kind.arrow)):
        return _MAKERS[kind.kind](values, kind)
    return pa.array(values, kind.arrow)


def _numbers_of(values: Sequence[Any], kind: AvroType) -> pa.Array:
    """Converts whole numbers to floats first, because Arrow rejects those that a double would round."""
    return pa.array([float(value) if isinstance(value, int) else value for value in values], kind.arrow)


def _record_of(rows: Sequence[Any], kind: AvroType) -> pa.Array:
    """Structs with the fields of the type; fields that a row lacks are null."""
    if not kind.children:
        return pa.array([None if row is None else {} for row in rows], kind.arrow)
    columns = [
        array_of([None if row is None else row.get(name) for row in rows], child)
        for name, child in zip(kind.names, kind.children, strict=True)
    ]
    return pa.StructArray.from_arrays(columns, fields=list(kind.arrow), mask=_absent(rows))


def _array_of(values: Sequence[Any], kind: AvroType) -> pa.Array:
    items = array_of(list(chain.from_iterable(value or () for value in values)), kind.children[0])
    return pa.ListArray.from_arrays(_bounds(values), items, kind.arrow, mask=_absent(values))


def _map_of(values: Sequence[Any], kind: AvroType) -> pa.Array:
    maps = [value or {} for value in values]
    keys = pa.array(list(chain.from_iterable(maps)), pa.string())
    items = array_of(list(chain.from_iterable(one.values() for one in maps)), kind.children[0])
    return pa.MapArray.from_arrays(_bounds(values), keys, items, kind.arrow, mask=_absent(values))


def _bounds(values: Sequence[Any]) -> pa.Array:
    lengths = np.fromiter((len(value or ()) for value in values), np.int64, len(values))
    return pa.array(np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]).astype(np.int32))


def _absent(values: Sequence[Any]) -> pa.Array | None:
    absent = [value is None for value in values]
    return pa.array(absent) if any(absent) else None


def _union_of(values: Sequence[Any], kind: AvroType) -> pa.Array:
    branches = [_branch_of(value, kind) for value in values]
    groups: list[list[Any]] = [[] for _ in kind.children]
    places = []
    for value, branch in zip(values, branches, strict=True):
        places.append(len(groups[branch]))
        groups[branch].append(value)
    children = [array_of(group, child) for group, child in zip(groups, kind.children, strict=True)]
    names = [child.name for child in kind.children]
    return pa.UnionArray.from_dense(pa.array(branches, pa.int8()), pa.array(places, pa.int32()), children, names)


_MAKERS = {
    "record": _record_of,
    "array": _array_of,
    "map": _map_of,
    "float": _numbers_of,
    "double": _numbers_of,
    "union": _union_of,
}


def _branch_of(value: Any, kind: AvroType) -> int:
    """The first branch that holds the value exactly; otherwise the first that holds it at all."""
    for exactly in (True, False):
        for place, child in enumerate(kind.children):
            if holds(child, value, exactly):
                return place
    raise ValueError(f"{type(value).__name__} fits no branch of the union")


def holds(kind: AvroType, value: Any, exactly: bool = True) -> bool:
    """Whether a value is of the type; unless `exactly`, the type may round a number.

    Example:
      >>> double, single = (AvroType(name, None, name) for name in ("double", "float"))
      >>> [holds(single, 0.5), holds(single, 0.1), holds(double, 0.1), holds(double, 1), holds(double, 1, False)]
      [True, False, True, False, True]
    """
    if kind.kind in ("float", "double") and isinstance(value, float):
        return kind.kind == "double" or not exactly or value != value or _is_single(value)
    if kind.kind == "union":
        return any(holds(child, value, exactly) for child in kind.children)
    if kind.kind == "record":
        return isinstance(value, dict) and _holds_fields(kind, value, exactly)
    if kind.kind == "array":
        return isinstance(value, list) and all(holds(kind.children[0], one, exactly) for one in value)
    if kind.kind == "map":
        return isinstance(value, dict) and all(holds(kind.children[0], one, exactly) for one in value.values())
    if kind.kind in ("int", "long"):
        return type(value) is int and -_LIMITS[kind.kind] <= value < _LIMITS[kind.kind]
    if kind.kind == "enum":
        return value in kind.names if isinstance(value, str) else False
    if kind.kind == "fixed":
        return isinstance(value, bytes) and len(value) == kind.size
    if kind.kind in ("float", "double"):
        return not exactly and type(value) is int
    return type(value) is {"null": type(None), "boolean": bool, "string": str, "bytes": bytes}[kind.kind]


def _is_single(value: float) -> bool:
    with np.errstate(over="ignore"):
        return float(np.float32(value)) == value


def _holds_fields(kind: AvroType, row: Row, exactly: bool) -> bool:
    if exactly and row.keys() != set(kind.names):
        return False
    fields = zip(kind.names, kind.children, strict=True)
    return all(holds(child, row[name], exactly) for name, child in fields if name in row)
