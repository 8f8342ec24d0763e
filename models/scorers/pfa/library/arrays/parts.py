"""Functions that select or join the items of arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.scorers.pfa.avro_types import BOOLEAN, INT, NUMBERS, STRING, Array
from models.scorers.pfa.columns import Column, Lists, Nulls, Scalars, check_items, concatenated
from models.scorers.pfa.library.calls import Call, Signature, Site, Wild, of_columns
from models.scorers.pfa.nodes import Node
from models.scorers.pfa.paths import item_at

_ITEM = Wild("A")
_ARRAY = Array(_ITEM)  # type: ignore[arg-type]
_EMPTY = "empty array"


def _length(site: Site, array: Lists) -> Column:
    del site
    return Scalars(array.lengths)


def _item(first: bool) -> Callable[..., Column]:
    def compute(site: Site, array: Lists) -> Column:
        kind, call = site.takes[0], site.call
        place = np.zeros(array.rows, np.int64) if first else array.lengths - 1
        if not isinstance(kind, Array):
            raise TypeError("not an array")
        return item_at(array, kind, place, site.frame, f"{call.name}: {_EMPTY}")

    return compute


def _without(first: bool) -> Callable[..., Column]:
    def compute(site: Site, array: Lists) -> Column:
        site.fail(array.lengths == 0, _EMPTY)
        return array.slices(array.starts + first, np.maximum(array.lengths - 1, 0))

    return compute


def _part(site: Site, array: Lists, start: Scalars, end: Scalars) -> Column:
    """The items between two places; negative places count from the end."""
    del site
    places = [np.where(one.values < 0, one.values + array.lengths, one.values) for one in (start, end)]
    low, high = (np.clip(one, 0, array.lengths) for one in places)
    return array.slices(array.starts + low, np.maximum(high - low, 0))


def _joined(site: Site, one: Lists, other: Lists) -> Column:
    del site
    check_items(one.items.rows + other.items.rows)
    lengths = one.lengths + other.lengths
    starts = np.cumsum(lengths) - lengths
    order = np.empty(one.items.rows + other.items.rows, np.intp)
    order[starts[one.owners] + one.positions] = np.arange(one.items.rows)
    order[starts[other.owners] + one.lengths[other.owners] + other.positions] = one.items.rows + np.arange(
        other.items.rows
    )
    return Lists(lengths, concatenated([one.items, other.items]).take(order))


def _with_item(site: Site, array: Lists, item: Column) -> Column:
    return _joined(site, array, Lists(np.ones(array.rows, np.int64), item))


def _flattened(site: Site, arrays: Lists) -> Column:
    del site
    inner = arrays.items
    if not isinstance(inner, Lists):
        raise TypeError("not a column of arrays of arrays")
    sums = np.concatenate([[0], np.cumsum(inner.lengths)])
    ends = np.cumsum(arrays.lengths)
    return Lists(np.asarray(sums[ends] - sums[ends - arrays.lengths], np.int64), inner.items)


def _contains(site: Site, array: Lists, wanted: Scalars) -> Column:
    del site
    if isinstance(array.items, Nulls) or not isinstance(array.items, Scalars):
        raise TypeError("not a column of arrays of scalars")
    equal = np.asarray(array.items.values == wanted.values[array.owners], bool)
    return Scalars(np.bincount(array.owners[equal], minlength=array.rows) > 0)


_SCALAR = Wild("A", (BOOLEAN, STRING, *NUMBERS))
FUNCTIONS: dict[str, Callable[[Call], Node]] = {
    "a.len": of_columns(_length, Signature((_ARRAY,), INT)),
    "a.head": of_columns(_item(True), Signature((_ARRAY,), _ITEM)),
    "a.last": of_columns(_item(False), Signature((_ARRAY,), _ITEM)),
    "a.tail": of_columns(_without(True), Signature((_ARRAY,), _ARRAY)),
    "a.init": of_columns(_without(False), Signature((_ARRAY,), _ARRAY)),
    "a.subseq": of_columns(_part, Signature((_ARRAY, INT, INT), _ARRAY)),
    "a.concat": of_columns(_joined, Signature((_ARRAY, _ARRAY), _ARRAY)),
    "a.append": of_columns(_with_item, Signature((_ARRAY, _ITEM), _ARRAY)),
    "a.flatten": of_columns(_flattened, Signature((Array(_ARRAY),), _ARRAY)),
    "a.contains": of_columns(_contains, Signature((Array(_SCALAR), _SCALAR), BOOLEAN)),  # type: ignore[arg-type]
}
