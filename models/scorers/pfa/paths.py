"""Parts of values: fields of records, items of arrays, values of maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.scorers.pfa.avro_types import INT, LONG, STRING, Array, Map, Record
from models.scorers.pfa.columns import Column, Fields, Lists, Places, Scalars, concatenated, filler
from models.scorers.pfa.constants import column_of
from models.scorers.pfa.elements import Element
from models.scorers.pfa.frames import Frame
from models.scorers.pfa.nodes import Node, computable, constant_node

ARRAY_ERROR = "array index out of range (PFA error 2000)"
MAP_ERROR = "key not found in map (PFA error 2002)"


def walked(node: Node, path: Sequence[Node], element: Element) -> Node:
    """The part of a value to which a path leads.

    Raises:
      ModelLoadError: no value of the type has such a part.
    """
    for index in path:
        if isinstance(node.type, Record):
            node = _field(node, index, element)
        elif isinstance(node.type, Map) and index.type == STRING:
            node = _value(node, node.type, index, element)
        elif isinstance(node.type, Array) and index.type in (INT, LONG):
            node = _item(node, node.type, index, element)
        else:
            element.refuse(f"a value of the type {node.type} has no parts with indices of the type {index.type}")
    return node


def _field(node: Node, index: Node, element: Element) -> Node:
    name, record = index.constant, node.type
    if not isinstance(record, Record) or not isinstance(name, str) or name not in record.fields:
        shown = repr(name) if isinstance(name, str) else "whose name is computed"
        element.refuse(f"the type {record} has no field {shown}")
    if node.is_constant:
        return constant_node(record.fields[name], node.constant[name])
    sources = {"": node.sources[name]} if name in node.sources else {}
    return Node(record.fields[name], lambda frame: part(node.evaluate(frame), name), sources=sources)


def part(column: Column, name: str) -> Column:
    """A field of a column of records or maps."""
    if not isinstance(column, Fields):
        raise TypeError("not a column of fields")
    return column.columns[name]


def _value(node: Node, kind: Map, index: Node, element: Element) -> Node:
    keys = kind.keys or ()
    if index.is_constant:
        if index.constant not in keys:
            element.refuse(f"the map has no key {index.constant!r}")
        if node.is_constant:
            return constant_node(kind.values, node.constant[index.constant])
        return Node(kind.values, lambda frame: part(node.evaluate(frame), index.constant))
    if not keys:
        element.refuse("an empty map has no keys")
    places = {key: place for place, key in enumerate(keys)}
    known = None
    if node.is_constant:
        probe = constant_node(kind.values, node.constant[keys[0]])
        known = column_of(computable(Node(probe.type, probe.evaluate), element).type, [node.constant[k] for k in keys])

    def evaluate(frame: Frame) -> Column:
        found = np.array([places.get(one, -1) for one in texts_of(index.evaluate(frame))], np.intp)
        frame.fail(found < 0, MAP_ERROR)
        if known is not None:
            return known.take(np.maximum(found, 0))
        column = node.evaluate(frame)
        every = concatenated([part(column, key) for key in keys])
        return every.take(np.maximum(found, 0) * frame.rows + np.arange(frame.rows))

    return Node(kind.values, evaluate)


def texts_of(column: Column) -> list[str]:
    """The values of a column of texts."""
    if not isinstance(column, Scalars):
        raise TypeError("not a column of texts")
    texts: list[str] = column.values.tolist()
    return texts


def _item(node: Node, kind: Array, index: Node, element: Element) -> Node:
    if node.is_constant and index.is_constant:
        if not 0 <= index.constant < len(node.constant):
            element.refuse(f"the array has {len(node.constant)} items, so index {index.constant} is out of range")
        return constant_node(kind.items, node.constant[index.constant])
    if node.is_constant and not node.constant:
        element.refuse("an empty array has no items")
    computable(Node(kind.items, node.evaluate), element)
    known = column_of(kind.items, node.constant) if node.is_constant else None

    def evaluate(frame: Frame) -> Column:
        column = index.evaluate(frame)
        wanted = column.values if isinstance(column, Scalars) else np.zeros(frame.rows, np.int64)
        if known is not None:
            outside = (wanted < 0) | (wanted >= known.rows)
            frame.fail(outside, ARRAY_ERROR)
            return known.take(np.where(outside, 0, wanted))
        return item_at(node.evaluate(frame), kind, wanted, frame, ARRAY_ERROR)

    return Node(kind.items, evaluate)


def item_at(column: Column, kind: Array, wanted: Places, frame: Frame, error: str) -> Column:
    """One item of each row's array; rows without such an item fail with the given error."""
    if not isinstance(column, Lists):
        raise TypeError("not a column of arrays")
    outside = (wanted < 0) | (wanted >= column.lengths)
    frame.fail(outside, error)
    items = concatenated([column.items, filler(kind.items, 1)]) if outside.any() else column.items
    return items.take(np.where(outside, items.rows - 1, column.starts + wanted))
