"""Avro messages one by one, with fastavro: the reference, and the reader of what whole columns are too clumsy for."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import fastavro
import pyarrow as pa

from models.records.codecs.avro_types import AvroType
from models.records.record_type import Row


class RowReader:
    """Reads messages one by one. Thread-safe.

    Args:
      parsed: the record schema as fastavro has parsed it.
    """

    def __init__(self, parsed: Any) -> None:
        self._parsed = parsed

    def read(self, value: bytes) -> Row:
        """Decodes one message.

        Raises:
          ValueError: when it is malformed; the text says why.
        """
        buffer = io.BytesIO(value)
        try:
            row: Row = fastavro.schemaless_reader(buffer, self._parsed, None)
        except Exception as error:  # fastavro raises whatever the broken bytes lead it to
            raise ValueError(f"{type(error).__name__}: {error}") from error
        if buffer.tell() != len(value):
            raise ValueError(f"{len(value) - buffer.tell()} bytes follow its end")
        return row


def structs_of(rows: Mapping[int, Row], kind: AvroType) -> tuple[pa.StructArray, dict[int, str]]:
    """Rows by place as structs in that order, and why some fit no column (fastavro reads an int beyond 32 bits)."""
    try:
        return columns_of(list(rows.values()), kind), {}
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError):
        pass
    fitting, errors = [], {}
    for place, row in rows.items():
        try:
            columns_of([row], kind)
            fitting.append(row)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError) as error:
            errors[place] = " ".join(str(error).split())
    return columns_of(fitting, kind), errors


def columns_of(rows: Sequence[Row], kind: AvroType) -> pa.StructArray:
    """Rows that follow a record type, as one struct a row; fields that the type leaves out are left out."""
    columns = [
        array_of([row.get(name) for row in rows], child) for name, child in zip(kind.names, kind.children, strict=True)
    ]
    if not columns:
        return pa.array([{}] * len(rows), kind.arrow)
    return pa.StructArray.from_arrays(columns, fields=list(kind.arrow))


def array_of(values: Sequence[Any], kind: AvroType) -> pa.Array:
    """Values as fastavro gives them, as an array of the type's Arrow type."""
    if kind.kind == "union" and pa.types.is_union(kind.arrow):
        return _union_of(values, kind)
    if kind.kind == "map":
        return pa.array([None if value is None else list(value.items()) for value in values], kind.arrow)
    if kind.kind in ("float", "double") or kind.nullable_branch is not None:
        return _numbers_of(values, kind.arrow)
    return pa.array(values, kind.arrow)


def _numbers_of(values: Sequence[Any], arrow: pa.DataType) -> pa.Array:
    """Arrow refuses whole numbers that a double rounds; JSON has no other way to write a large double."""
    if pa.types.is_floating(arrow):
        values = [float(value) if isinstance(value, int) else value for value in values]
    return pa.array(values, arrow)


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


def _branch_of(value: Any, kind: AvroType) -> int:
    """The first branch that can hold the value."""
    for place, child in enumerate(kind.children):
        try:
            array_of([value], child)
        except (pa.ArrowInvalid, pa.ArrowTypeError, AttributeError, TypeError, OverflowError):
            continue
        if (value is None) == (child.kind == "null"):
            return place
    raise ValueError(f"{type(value).__name__} fits no branch of the union")
